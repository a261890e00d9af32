"""Shared by all tests: one torch thread a worker, and a folder of small pictures."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric.utilities import registry
from PIL import Image

from dlzoo.runs import checkout

torch.set_num_threads(1)
gc.disable()  # while tests are collected: nothing of what is made is garbage


def pytest_collection_finish() -> None:
    """Exclude what was imported from garbage collection, which would pass over a million objects again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)  # ordinary thresholds take a twentieth of the time of all tests
    gc.enable()


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in a folder of its own, so that outputs/ and data/ land there."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small run spends three quarters of its time on pictures: only tests marked `draws` have them drawn."""
    if "draws" not in request.keywords:
        monkeypatch.setattr("dlzoo.builder.results.draw", lambda *made: {})


@pytest.fixture(autouse=True, scope="session")
def _look_once() -> Iterator[None]:
    """Hundreds of runs look up the commit and Lightning's plug-ins, which do not change meanwhile: 25 ms each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkout, "git_commit", cache(checkout.git_commit))
        plug_ins = "pytorch_lightning.trainer.connectors.callback_connector._load_external_callbacks"
        patch.setattr(plug_ins, cache(registry._load_external_callbacks))
        yield


@pytest.fixture
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def draw_pictures(folder: Path, count: int, size: tuple[int, int] = (12, 12), seed: int = 0) -> None:
    """`count` noisy pictures in `folder`: dark for a class called dark, bright otherwise."""
    folder.mkdir(parents=True)
    # Of each folder others: equal pictures in two parts would be a leak.
    numbers = np.random.default_rng([seed, zlib.crc32(f"{folder.parent.name}/{folder.name}".encode())])
    low = 0 if folder.name == "dark" else 160
    for index in range(count):
        pixels = numbers.integers(low, low + 95, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")


@pytest.fixture
def pictures(tmp_path: Path, cache_home: Path) -> Path:
    """Two classes in train/ and test/, 40 and 10 pictures each."""
    root = tmp_path / "pictures"
    for part, count in (("train", 40), ("test", 10)):
        for name in ("dark", "light"):
            draw_pictures(root / part / name, count, seed=len(part) + count)
    return root
