"""Files of equal content, found without reading most of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dlzoo.data.storage import duplicates
from dlzoo.data.storage.duplicates import number_contents

LONG = np.random.default_rng(0).bytes(20_000)


def write(folder: Path, contents: list[bytes]) -> list[Path]:
    paths = [folder / f"{index}.bin" for index in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize(
    ("contents", "numbers"),
    [
        ([], []),
        ([b"a"], [0]),
        ([b"a", b"ab", b"a", b"b", b"ab"], [0, 1, 0, 3, 1]),
        ([b"", b"", b"x"], [0, 0, 2]),
        ([LONG, LONG[::-1], LONG], [0, 1, 0]),
        ([LONG, b"x" + LONG[1:], LONG[:-1] + b"x", LONG], [0, 1, 2, 0]),  # equal in the middle
        ([LONG] * 5, [0] * 5),
    ],
)
def test_files_of_equal_content_have_the_number_of_the_first(
    contents: list[bytes], numbers: list[int], tmp_path: Path
) -> None:
    assert number_contents(write(tmp_path, contents)) == numbers


def test_links_and_names_that_are_there_twice_are_equal_and_what_cannot_be_read_is_alone(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [LONG])
    link, fifo, folder = tmp_path / "link", tmp_path / "fifo", tmp_path / "folder"
    link.symlink_to(path)
    os.mkfifo(fifo)
    folder.mkdir()
    missing = [tmp_path / "no", tmp_path / "none"]
    name = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    name.write_bytes(LONG)
    paths = [path, link, path, fifo, folder, *missing, fifo, name]
    assert number_contents(paths) == [0, 0, 0, 3, 4, 5, 6, 3, 0]


def test_only_files_of_equal_size_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    for name in ("_middle", "_whole"):
        read = getattr(duplicates, name)
        monkeypatch.setattr(
            duplicates, name, lambda path, name=name, read=read: (opened.append(name + Path(path).stem), read(path))[1]
        )
    paths = write(tmp_path, [b"a" * 10, b"a" * 11, LONG, LONG[::-1], LONG + b"x"])
    assert number_contents(paths) == [0, 1, 2, 3, 4]
    assert sorted(opened) == ["_middle2", "_middle3"]


@pytest.mark.usefixtures("cache_home")
class TestMany:
    """What more than a few files share is cached."""

    @pytest.fixture(autouse=True)
    def many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(duplicates, "_FEW", 1)

    def forbid(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(duplicates, "_find_copies", lambda *all_of_them: 1 / 0)

    def test_the_files_are_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        paths = write(tmp_path, [b"a", b"b", b"a"])
        before = number_contents(paths)
        with monkeypatch.context() as patch:
            self.forbid(patch)
            assert number_contents(paths) == before == [0, 1, 0]
        os.utime(paths[1], ns=(1, 1))
        paths[1].write_bytes(b"a")
        assert number_contents(paths) == [0, 0, 0]

    @pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"stamp": 1}', '{"copies": {"a": 1}}'])
    def test_a_damaged_file_is_written_again(self, damage: str, tmp_path: Path, cache_home: Path) -> None:
        paths = write(tmp_path, [b"a", b"b", b"a"])
        number_contents(paths)
        (cached,) = cache_home.rglob("*.json")
        whole = cached.read_text()
        cached.write_text(damage)
        assert number_contents(paths) == [0, 1, 0]
        assert cached.read_text() == whole

    def test_without_a_folder_for_the_cache_the_files_are_read(self, tmp_path: Path, cache_home: Path) -> None:
        cache_home.write_text("not a folder")
        assert number_contents(write(tmp_path, [b"a", b"b", b"a"])) == [0, 1, 0]
