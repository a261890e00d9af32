"""What is kept of many files: found once, found again after any change, and never needed."""

import os
from pathlib import Path
from threading import Thread

import pytest
import torch

from dlzoo.core.errors import UserError
from dlzoo.data import split as splitting
from dlzoo.data.splits import Splits
from dlzoo.data.storage.remember import remember, stamp_of
from tests.data.datasets.test_image_folder import section


class Finder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> list[int]:
        self.asked += 1
        return [self.asked]


def test_an_answer_is_found_once_for_a_stamp(cache_home: Path) -> None:
    find = Finder()
    assert [remember("x", "name", stamp, find) for stamp in ("a", "a", "b", "b", "a")] == [[1], [1], [2], [2], [3]]
    assert remember("x", "other", "a", find) == remember("x", "other", "a", find) == [4]
    assert len(list(cache_home.rglob("*.json"))) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"stamp": 1}', b'{"stamp": "a"', b"\xff\xfe"])
def test_a_damaged_file_is_no_answer(cache_home: Path, content: bytes) -> None:
    find = Finder()
    remember("x", "name", "a", find)
    (path,) = cache_home.rglob("*.json")
    path.write_bytes(content)
    assert remember("x", "name", "a", find) == remember("x", "name", "a", find) == [2]


def test_a_cache_folder_that_cannot_be_made_is_no_error(cache_home: Path) -> None:
    cache_home.write_text("a file")
    find = Finder()
    assert [remember("x", "name", "a", find) for _ in range(2)] == [[1], [2]]


def test_of_several_at_a_time_one_finds(cache_home: Path) -> None:
    find, answers = Finder(), []
    threads = [Thread(target=lambda: answers.append(remember("x", "name", "a", find))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[1]] * 8


def test_a_stamp_follows_names_sizes_and_times(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("one")
    stamps = [stamp_of(tmp_path, paths), stamp_of(tmp_path, paths[::-1]), stamp_of(tmp_path, paths[:1])]
    paths[0].write_text("longer")
    stamps.append(stamp_of(tmp_path, paths))
    os.utime(paths[1], ns=(1, 1))
    stamps.append(stamp_of(tmp_path, paths))
    assert len(set(stamps)) == len(stamps)
    paths[1].unlink()
    with pytest.raises(UserError, match="b: cannot be read"):
        stamp_of(tmp_path, paths)
    paths[1].mkdir()
    with pytest.raises(UserError, match="b: not a file"):
        stamp_of(tmp_path, paths)


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_a_folder_that_was_seen_before_is_not_read_again(
    pictures: Path, cache_home: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> tuple[str, torch.Tensor, torch.Tensor]:
        splits = Splits.load(section(root=str(pictures), cache=cache))
        return splits.fingerprint, *splits.statistics()

    before = load()
    monkeypatch.setattr(splitting, "_subsample", lambda images: pytest.fail("was read again"))
    for known, now in zip(before, load(), strict=True):
        assert known == now if isinstance(known, str) else torch.equal(known, now)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    first = min((pictures / "train").rglob("*.png"))
    first.write_bytes(max((pictures / "train").rglob("*.png")).read_bytes())
    with pytest.warns(UserWarning, match="contradictory labels|in train and in"):
        after = load()
    assert after[0] != before[0]
