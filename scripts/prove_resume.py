"""Kill training runs with -9 at random moments, resume them, and compare them with uninterrupted runs.

    python scripts/prove_resume.py --kills 20

Each line of the table is one run: its configuration, the step that it had logged when it was killed, the step that it
was resumed from, and the hashes of the uninterrupted and the resumed run. The exit code is 1 if two hashes differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from dlzoo.runs.logged import read_metrics

BASE = [
    *("data.limit=320", "data.batch_size=32", "trainer.max_epochs=10", "trainer.threads=1"),
    *("trainer.log_every=4", "trainer.checkpoint_every=3"),
]
EPOCH, STEPS = 10, 100
#: Norms with and without running statistics, dropout, augmentation, EMA, accumulation, clipping, SGD and Adam.
CONFIGS = {
    "bn adam ema": ["model=resnet20", "model.width=8", "optimizer=adam", "trainer.ema=0.99", "augment=flip_crop"],
    "gn sgd": ["model=resnet20", "model.width=8", "norm=gn", "augment=flip_crop"],
    "bn accumulate clip": [
        *("model=densenet_bc_40_12", "model.growth_rate=4", "trainer.accumulate=4", "trainer.clip_norm=1")
    ],
    "dropout nesterov": [
        *(
            "model=mlp",
            "drop=dropout",
            "drop.rate=0.3",
            "optimizer=nesterov",
            "optimizer.lr=0.01",
            "schedule.warmup=0.2",
        )
    ],
}


def fingerprint(run: Path) -> str:
    """Hash the results of a run: weights (final, averaged, best), running statistics, and the log without times."""
    digest = hashlib.sha256()
    for name in ("last.ckpt", "best.ckpt"):
        for key, value in torch.load(run / "checkpoints" / name, weights_only=True)["state_dict"].items():
            digest.update(key.encode() + value.numpy().tobytes())
    for record in read_metrics(run / "metrics.jsonl"):
        kept = {key: value for key, value in record.items() if key not in ("time", "images_per_second")}
        digest.update(json.dumps(kept).encode())
    return digest.hexdigest()[:12]


def steps(run: Path) -> int:
    """Return the last step in the log."""
    return max((record["step"] for record in read_metrics(run / "metrics.jsonl")), default=0)


def command(*words: str) -> list[str]:
    """Return the command line of dlzoo."""
    return [sys.executable, "-m", "dlzoo.cli", *words]


def uninterrupted(name: str, folder: Path) -> str:
    """Return the hash of a run that is not killed."""
    run = folder / name.replace(" ", "_")
    subprocess.run(command("train", f"run_dir={run}", *BASE, *CONFIGS[name]), check=True, stdout=subprocess.DEVNULL)
    return fingerprint(run)


def killed_and_resumed(name: str, run: Path, generator: random.Random, at_epoch_end: bool) -> tuple[int, int]:
    """Train, kill -9 at a random moment, and resume; return (the last step in the log, the step of the checkpoint)."""
    killed = False
    while not killed:  # a run that finished before its moment was not killed
        shutil.rmtree(run, ignore_errors=True)
        if at_epoch_end:
            target, delay = generator.randrange(1, STEPS // EPOCH) * EPOCH, generator.uniform(0, 0.02)
        else:
            target, delay = generator.randrange(1, STEPS - EPOCH), generator.uniform(0, 0.05)
        process = subprocess.Popen(command("train", f"run_dir={run}", *BASE, *CONFIGS[name]), stdout=subprocess.DEVNULL)
        while process.poll() is None and steps(run) < target:
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        killed = process.wait() == -signal.SIGKILL
    at, checkpoint = steps(run), run / "checkpoints" / "last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)["task"]["clock"] if checkpoint.exists() else 0
    subprocess.run(command("run", str(run)), check=True, stdout=subprocess.DEVNULL)
    return at, saved


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="kills in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    parser.add_argument("--only", choices=CONFIGS, action="append", help="this configuration; may be repeated")
    arguments = parser.parse_args()
    names = arguments.only or list(CONFIGS)
    generator, folder, wrong = random.Random(arguments.seed), Path(tempfile.mkdtemp(prefix="prove_resume_")), 0
    known = {name: uninterrupted(name, folder) for name in names}
    print(f"{'configuration':<20} {'killed after step':<18} {'resumed from':<13} {'uninterrupted':<13} {'resumed':<13}")
    for number in range(arguments.kills):
        name = names[number % len(names)]
        expected, run = known[name], folder / f"killed_{number}"
        at, saved = killed_and_resumed(name, run, generator, at_epoch_end=number // len(names) % 2 == 1)
        actual = fingerprint(run)
        wrong += actual != expected
        verdict = "" if actual == expected else "  DIFFERENT"
        print(f"{name:<20} {at:<18} {saved:<13} {expected:<13} {actual:<13}{verdict}", flush=True)
    shutil.rmtree(folder)
    print(f"{arguments.kills - wrong} of {arguments.kills} equal")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
