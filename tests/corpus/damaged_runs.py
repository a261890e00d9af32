"""Run directories and sweeps that were damaged."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.corpus.case import Case

Change = Callable[[Path], object]


def of(name: str, change: Change) -> Callable[[Path, Path], None]:
    """Copy a run of the base folder to run/ and change it."""

    def make(folder: Path, base: Path) -> None:
        shutil.copytree(base / name, folder / "run")
        change(folder / "run")

    return make


def write(file: str, content: str | bytes) -> Change:
    data = content.encode() if isinstance(content, str) else content
    return lambda run: (run / file).write_bytes(data)


def edit(file: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda run: (run / file).write_bytes(change((run / file).read_bytes()))


def edit_checkpoints(change: Callable[[bytes], bytes]) -> Change:
    return lambda run: [edit(f"checkpoints/{path.name}", change)(run) for path in (run / "checkpoints").iterdir()]


def record(**values: Any) -> Change:
    """Change fields of run.json; a field of the value ... is removed."""

    def change(run: Path) -> None:
        content = json.loads((run / "run.json").read_text()) | values
        (run / "run.json").write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return change


def checkpoint(change: Callable[[dict[str, Any]], object], name: str = "last") -> Change:
    """Change the content of a checkpoint."""

    def rewrite(run: Path) -> None:
        path = run / "checkpoints" / f"{name}.ckpt"
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return rewrite


def flip(place: float) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        at = int(place * len(data))
        return data[:at] + bytes([data[at] ^ 8]) + data[at + 1 :]

    return change


_RECORDS = ("", "[]", '{"state": "finis', "null", b"\xff\xfe\x00", "5", "{}", "{'state': 1}", "[" * 5000)
_CONFIGS = (
    "",
    "[]",
    "5",
    "null",
    "a: [",
    "a:\n\t- b",
    b"\xff\xfe\x00",
    "model: 5",
    "a: *x",
    "[" * 3000,
    "seed: [1",
    b"name: \xe4\n",
    "{}",
)
_FILES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "cut off early": lambda data: data[:100],
    "text": lambda data: b"no checkpoint",
    "zeros": lambda data: bytes(len(data)),
    "a bit, early": flip(0.2),
    "a bit, in the middle": flip(0.5),
    "a bit, late": flip(0.8),
    "behind a text": lambda data: b"text" + data,
    "lost bytes": lambda data: data[:2000] + data[2064:],
}

KINDS: dict[str, list[Case]] = {
    "a run.json that is no record": [
        Case("run run", "run.json", of("finished", write("run.json", content))) for content in _RECORDS
    ],
    "a run.json that is no record, and eval": [
        Case("eval run=run", "run.json", of("finished", write("run.json", content))) for content in _RECORDS
    ],
    "fields of run.json": [
        Case("run run", "run.json", of("interrupted", record(**values)))
        for values in (
            {"state": "asleep"},
            {"state": None},
            {"state": ...},
            {"state": ["running"]},
            {"metrics": 5},
            {"config": None},
            {"config": 5},
            {"config": {"model": "x"}},
            {"ranks": "two"},
            {"data_sizes": 5},
        )
    ],
    "fields of run.json, and eval": [
        Case("eval run=run", "run.json", of("finished", record(**values)))
        for values in (
            {"state": "asleep"},
            {"metrics": None},
            {"metrics": {"test/accuracy": "x"}},
            {"classes": 5},
            {"state": 5},
            {"config": 5},
            {"state": None},
        )
    ],
    "a config.yaml that is no config": [
        Case("run run", "config.yaml", of("interrupted", write("config.yaml", content))) for content in _CONFIGS
    ],
    "a config.yaml that is no config, and eval": [
        Case("eval run=run", "config.yaml", of("finished", write("config.yaml", content))) for content in _CONFIGS
    ],
    "edited configs": [
        Case(
            "run run",
            says,
            of("interrupted", edit("config.yaml", lambda data, old=old, new=new: _replaced(data, old, new))),
        )
        for old, new, says in (
            (b"name: mlp", b"name: mpl", "mlp"),
            (b"max_epochs: ", b"max_epochs: -", "max_epochs"),
            (b"batch_size: 40", b"batch_size: 0", "batch_size"),
            (b"seed: ", b"seeds: ", "seed"),
            (b"lr: ", b"lr: x", "lr"),
            (b"name: digits", b"name: digit", "digits"),
            (b"limit: 200", b"limit: 100", ""),
            (b"batch_size: 40", b"batch_size: 50", ""),
            (b"ema: null", b"ema: 1.0", "ema"),
        )
    ],
    "files that are missing": [
        Case(f"{command}", says, of("finished", lambda run, name=name: _remove(run / name)))
        for command, name, says in (
            ("run run", "run.json", "run"),
            ("run run", "config.yaml", "config.yaml"),
            ("eval run=run", "run.json", "run"),
            ("eval run=run", "config.yaml", "config.yaml"),
            ("eval run=run", "checkpoints", "best.ckpt"),
            ("predict run=run a.png", "checkpoints", ""),
            ("train init_from=run model=mlp 'model.hidden=[16]'", "checkpoints", "best.ckpt"),
        )
    ],
    "checkpoints to resume from": [
        Case(
            "run run", "last.ckpt: damaged", of("interrupted", edit("checkpoints/last.ckpt", change)), ("run/run.json",)
        )
        for change in _FILES.values()
    ],
    "checkpoints to evaluate": [
        Case(
            "eval run=run",
            "ckpt",
            of("finished", edit_checkpoints(change)),
        )
        for change in _FILES.values()
    ],
    "checkpoints to start from": [
        Case(
            "train init_from=run model=mlp 'model.hidden=[16]' data.limit=200 data.batch_size=40",
            "ckpt",
            of("finished", edit_checkpoints(change)),
        )
        for change in _FILES.values()
    ],
    "checkpoints with other contents": [
        Case("run run", "last.ckpt", of("interrupted", checkpoint(change)), ("run/run.json", "run/events*"))
        for change in (
            lambda content: content.update(state_dict=None),
            lambda content: content.pop("state_dict"),
            lambda content: content.clear(),
            lambda content: content.update(state_dict={}),
            lambda content: content.update(task=None),
            lambda content: content.pop("task"),
            lambda content: content["task"].update(clock="x"),
            lambda content: content["task"].pop("clock"),
            lambda content: content.update(optimizer_states=None),
            lambda content: content.pop("optimizer_states"),
            lambda content: content.update(optimizer_states=[]),
            lambda content: content.update(loops=5),
            lambda content: content["task"].update(clock=-5),
            lambda content: content["state_dict"].update(extra=torch.zeros(2)),
            lambda content: content.update(epoch="x"),
            lambda content: content["state_dict"].update({min(content["state_dict"]): torch.zeros(7)}),
            lambda content: content["optimizer_states"][0]["state"].clear(),
            lambda content: content["optimizer_states"][0]["state"][0].update(momentum_buffer=torch.zeros(7)),
            lambda content: content["optimizer_states"][0]["state"].update({1: {"exp_avg": torch.zeros(7)}}),
            lambda content: content["optimizer_states"][0]["param_groups"][0].pop("lr"),
        )
    ],
    "logs that were damaged": [
        Case("run run", "metrics.jsonl", of("interrupted", edit("metrics.jsonl", change)), ("run/run.json",))
        for change in (
            lambda data: b"x" + data,
            lambda data: data.replace(b'"epoch"', b'"apoch"', 1),
            lambda data: data.replace(b"{", b"", 1),
            lambda data: data.replace(b'"step"', b'"stop"', 1),
            lambda data: b"\xff\xfe" + data,
            lambda data: b"[]\n" + data,
            lambda data: data.replace(b'"epoch": ', b'"epoch": x', 1),
        )
    ],
    "runs that others use, or that ended": [
        Case("train init_from=run model=resnet20", "", of("finished", lambda run: None)),
        Case("train init_from=run model=mlp", "", of("finished", lambda run: None)),
        Case("eval run=run model=mlp", "model", of("finished", lambda run: None)),
        Case("eval run=run seed=3", "seed", of("finished", lambda run: None)),
        Case("eval run=run data.limit=5", "data.limit", of("finished", lambda run: None)),
        Case("eval run=run data.test_shift=fog", "data.test_shift", of("finished", lambda run: None)),
        Case("train resume=run seed=3", "init_from=run", of("interrupted", lambda run: None)),
        Case("run run seed=3", "", of("interrupted", lambda run: None)),
        Case("train run_dir=run", "run", of("finished", lambda run: None)),
        Case(
            "run run",
            "max_epochs",
            of("finished", edit("config.yaml", lambda data: data.replace(b"max_epochs: 3", b"max_epochs: 9"))),
        ),
    ],
    "pipes in a run directory": [
        Case(command, name, of("finished", lambda run, name=name: (_remove(run / name), os.mkfifo(run / name))))
        for command, name in (
            ("run run", "run.json"),
            ("run run", "config.yaml"),
            ("eval run=run", "run.json"),
            ("eval run=run", "config.yaml"),
            ("predict run=run a.png", "run.json"),
        )
    ],
}


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data, old
    return data.replace(old, new, 1)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
