"""Kill training runs with -9 at random moments, resume them, and compare them with uninterrupted runs.

    python scripts/prove_resume.py --kills 20 --damages 20

Each line of the first table is one run: its configuration, the step that it had logged when it was killed, the step
that it was resumed from, and the hashes of the uninterrupted and the resumed run: of their weights, of their logs and
of what TensorBoard shows. Each line of the second table is a run of which a file was damaged after the kill: resuming
it must be refused in one line, say what was lost, or end as the uninterrupted run. The exit code is 1 if any run fails.
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
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlzoo.runs.logged import read_metrics

BASE = [
    *("data.limit=320", "data.batch_size=32", "trainer.max_epochs=10", "trainer.threads=1"),
    *("trainer.log_every=4", "trainer.checkpoint_every=3"),
]
EPOCH, STEPS = 10, 100
#: Norms with and without running statistics, dropout, augmentation, EMA, accumulation, clipping, SGD and Adam;
#: validations inside epochs, an end inside one, and copies of checkpoints.
CONFIGS = {
    "bn adam ema": ["model=resnet20", "model.width=8", "optimizer=adam", "trainer.ema=0.99", "augment=flip_crop"],
    "gn sgd": ["model=resnet20", "model.width=8", "norm=gn", "augment=flip_crop"],
    "bn accumulate clip": [
        *("model=densenet_bc_40_12", "model.growth_rate=4", "trainer.accumulate=4", "trainer.clip_norm=1")
    ],
    "validations copies": [
        *("model=mlp", "trainer.max_steps=97", "trainer.validate_every_steps=7", "trainer.monitor=loss"),
        *("trainer.keep_every=2", "trainer.keep_best=3"),
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


def fingerprint(run: Path, *, board: bool = True) -> str:
    """Hash the results of a run: weights (final, averaged, best, kept), running statistics, the log and with `board`
    the points and images of TensorBoard. Times are left out.
    """
    digest = hashlib.sha256()
    for path in sorted((run / "checkpoints").iterdir()):
        digest.update(path.name.encode())
        for key, value in torch.load(path, weights_only=True)["state_dict"].items():
            digest.update(key.encode() + value.numpy().tobytes())
    for record in read_metrics(run / "metrics.jsonl"):
        kept = {key: value for key, value in record.items() if key not in ("time", "images_per_second")}
        digest.update(json.dumps(kept).encode())
    if board:
        digest.update(json.dumps(shown(run)).encode())
    return digest.hexdigest()[:12]


def shown(run: Path) -> dict[str, list]:
    """Return the points of each curve that TensorBoard shows, and the steps of its images."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()
    tags = events.Tags()
    curves = {
        tag: [(point.step, point.value) for point in events.Scalars(tag)]
        for tag in tags["scalars"]
        if tag != "images_per_second"
    }
    return curves | {tag: [image.step for image in events.Images(tag)] for tag in tags["images"]}


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


def kill(name: str, run: Path, generator: random.Random, at_epoch_end: bool) -> tuple[int, int]:
    """Train and kill -9 at a random moment; return (the last step in the log, the step of the checkpoint)."""
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
    checkpoint = run / "checkpoints" / "last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)["task"]["clock"] if checkpoint.exists() else 0
    return steps(run), saved


def damage(path: Path, generator: random.Random) -> str:
    """Damage a file and say how."""
    content = bytearray(path.read_bytes())
    place = generator.randrange(len(content))
    how = generator.choice(["one bit", "cut off", "zeros", "lost bytes"])
    if how == "one bit":
        content[place] ^= 1 << generator.randrange(8)
    elif how == "cut off":
        del content[place:]
    elif how == "zeros":
        content[place : place + 64] = bytes(len(content[place : place + 64]))
    else:
        del content[place : place + 64]
    path.write_bytes(content)
    return f"{how} at {place}"


def prove_kills(count: int, known: dict[str, str], folder: Path, generator: random.Random) -> int:
    """Kill and resume `count` runs, print a line each, and return how many differ from the `known` ones."""
    wrong, names = 0, list(known)
    print(f"{'configuration':<20} {'killed after step':<18} {'resumed from':<13} {'uninterrupted':<13} {'resumed':<13}")
    for number in range(count):
        name = names[number % len(names)]
        run = folder / f"killed_{number}"
        at, saved = kill(name, run, generator, at_epoch_end=number // len(names) % 2 == 1)
        subprocess.run(command("run", str(run)), check=True, stdout=subprocess.DEVNULL)
        actual = fingerprint(run)
        wrong += actual != known[name]
        verdict = "" if actual == known[name] else "  DIFFERENT"
        print(f"{name:<20} {at:<18} {saved:<13} {known[name]:<13} {actual:<13}{verdict}", flush=True)
    print(f"{count - wrong} of {count} equal")
    return wrong


def prove_damages(count: int, name: str, folder: Path, generator: random.Random) -> int:
    """Damage a file of `count` killed runs, resume them, print a line each, and return how many went on silently."""
    killed, expected, wrong = folder / "killed", fingerprint(folder / name.replace(" ", "_"), board=False), 0
    while not (killed / "checkpoints" / "last.ckpt").exists():
        kill(name, killed, generator, at_epoch_end=False)
    print(f"\n{'damaged':<24} {'how':<24} result")
    for number in range(count):
        run = folder / f"damaged_{number}"
        shutil.copytree(killed, run)
        files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.stat().st_size]
        path = files[number % len(files)]
        how = damage(path, generator)
        done = subprocess.run(command("run", str(run)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        lines = [line for line in done.stderr.splitlines() if line.startswith("dlzoo: ")]
        if done.returncode == 0:
            equal = fingerprint(run, board=False) == expected or bool(lines)
            result = lines[-1] if lines else "equal" if equal else "DIFFERENT, without a word"
        else:
            equal = done.returncode == 2 and len(done.stderr.splitlines()) == len(lines) == 1
            result = lines[-1] if equal else f"exit {done.returncode}: {done.stderr}"
        wrong += not equal
        print(f"{path.relative_to(run)!s:<24} {how:<24} {result}", flush=True)
        shutil.rmtree(run)
    print(f"{count - wrong} of {count} refused, said or equal")
    return wrong


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="kills in all")
    parser.add_argument("--damages", type=int, default=20, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills, and of the damages")
    parser.add_argument("--only", choices=CONFIGS, action="append", help="this configuration; may be repeated")
    arguments = parser.parse_args()
    generator, folder = random.Random(arguments.seed), Path(tempfile.mkdtemp(prefix="prove_resume_"))
    known = {name: uninterrupted(name, folder) for name in arguments.only or CONFIGS}
    wrong = prove_kills(arguments.kills, known, folder, generator)
    wrong += prove_damages(arguments.damages, next(iter(known)), folder, generator)
    shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
