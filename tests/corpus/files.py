"""Paths that are odd, and files of experiments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.corpus.case import Case

Make = Callable[[Path, Path], None]


def _experiment(content: str | bytes) -> Make:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder, base: (folder / "mine.yaml").write_bytes(data) and None


_HEAD = "# @package _global_\n"
_NAMES = ("data.path", "data.test_path", "data.root", "init_from", "run_dir", "resume")
_LONG = "x" * 5000


def _typed(key: str, value: str) -> tuple[str, ...]:
    more = {"data.path": ("data=csv", "data.target=y"), "data.root": ("data=image_folder",)}
    more["data.test_path"] = ("data=csv", "data.target=y", "data.path=a.csv")
    return ("train", *more.get(key, ()), f"{key}={value}")


def _pipes(folder: Path, base: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "a.csv").write_text("x,y\n" + "1,0\n2,1\n" * 20)


KINDS: dict[str, list[Case]] = {
    "paths that are too long": [Case(_typed(key, _LONG), "at most 4,096 bytes") for key in _NAMES if key != "resume"]
    + [Case(("eval", f"run={_LONG}"), "too long"), Case(("report", _LONG), "too long"), Case(("run", "a/" * 2500), "")],
    "paths with a NUL byte": [Case(_typed(key, "a\0b"), "") for key in _NAMES]
    + [Case(("eval", "run=a\0b"), ""), Case(("runs", "\0"), "")],
    "names that are not UTF-8": [
        Case(_typed(key, "a\udcff"), "") for key in ("data.path", "data.root", "init_from", "resume")
    ]
    + [Case(("eval", "run=\udcff"), ""), Case(("train", "model=\udcff"), ""), Case(("\udcff",), "")],
    "pipes where files belong": [
        Case(_typed(key, "pipe"), "pipe", _pipes)
        for key in ("data.path", "data.test_path", "data.root", "init_from", "resume")
    ]
    + [Case("train experiment=./pipe", "pipe", _pipes), Case("eval run=pipe", "pipe", _pipes)],
    "devices where files belong": [
        Case(_typed(key, path), path, _pipes)
        for key in ("data.path", "data.test_path", "init_from", "resume")
        for path in ("/dev/zero", "/dev/null")
    ]
    + [Case(_typed("data.path", "/dev/stdin"), "/dev/stdin")],
    "paths that are folders": [
        Case(_typed(key, "."), "", _pipes) for key in ("data.path", "data.test_path", "init_from", "resume", "run_dir")
    ]
    + [Case("train experiment=./", ""), Case("predict run=. .", "")],
    "control characters": [Case(("train", f"model=\x1b[31m{name}"), "\\x1b") for name in ("a", "resnet20")]
    + [
        Case(("train", "data=image_folder", "data.root=\x1b]0;x\x07"), "\\x1b"),
        Case(("eval", "run=\x07bell"), "\\x07"),
        Case(("show", "model", "a\u202eb"), "\\u202e"),
        Case(("run", "a\nb"), "a b"),
        Case(("train", "norm=a\rb"), "\\r"),
    ],
    "experiments without a package": [
        Case("train experiment=./mine.yaml", "_global_", _experiment(content))
        for content in (
            "seed: 3\n",
            "model:\n  name: resnet20\n",
            "# mine\nseed: 3\n",
            "# @package model\nwidth: 3\n",
            "defaults:\n  - override /model: mlp\n",
        )
    ],
    "experiments that are no mapping": [
        Case("train experiment=./mine.yaml", "mine.yaml", _experiment(content))
        for content in (
            f"{_HEAD}5",
            f"{_HEAD}- a",
            f"{_HEAD}a: [",
            f"{_HEAD}a:\n\t- b",
            b"# @package _global_\nname: \xe4\n",
            f"{_HEAD}{'[' * 3000}",
            f"{_HEAD}a: *x",
            f"{_HEAD}'a",
            b"\xff\xfe\x00",
            f"{_HEAD}a: !!python/object:os.system x",
            f"{_HEAD}a: {{",
        )
    ],
    "experiments with wrong settings": [
        Case("train experiment=./mine.yaml", "mine.yaml", _experiment(f"{_HEAD}{content}"))
        for content in (
            "optimizer:\n  lrr: 3\n",
            "seeed: 3\n",
            "defaults:\n  - override /model: resnet21\n",
            "defaults:\n  - override /modle: mlp\n",
            "defaults: 5\n",
            "defaults:\n  - 5\n",
            "trainer:\n  max_epochs: many\n",
            "defaults:\n  - mine\n",
            "defaults:\n  - override /norm: gnn\n",
            "model: resnet20\n",
        )
    ],
    "experiments that are not there": [
        Case(f"train experiment={name}", "")
        for name in ("./nowhere.yaml", "nowhere", "''", "./", "../x.yaml", "/dev/null", "./a.txt")
    ]
    + [
        Case("train --config-dir nowhere", "nowhere"),
        Case("train --config-dir", ""),
        Case("train --config-dir /dev/null", ""),
    ],
}
