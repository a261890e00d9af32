"""Decoded images in a file: one that is not as it was written is decoded again; passing errors are not kept."""

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dlzoo.core.errors import UserError
from dlzoo.core.files import remove_abandoned, writing
from dlzoo.data.splits import Splits
from dlzoo.data.storage import image_file
from dlzoo.data.storage.decode import decode_images
from tests.data.datasets.test_image_folder import section


def cut(path: Path) -> None:
    os.truncate(path, 5000)


def zero(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-6000] + bytes(6000))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": cut,
    "empty": lambda path: os.truncate(path, 0),
    "zeros": zero,
    "another file": lambda path: path.write_bytes(b"no array"),
    "unsealed": lambda path: path.with_suffix(".json").unlink(),
    "a damaged seal": lambda path: path.with_suffix(".json").write_text("[1"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_of_decoded_images_is_written_again(how: str, pictures: Path, cache_home: Path) -> None:
    usual = Splits.load(section(root=str(pictures), cache="disk")).train.images[:]
    (path,) = cache_home.rglob("*.npy")
    DAMAGES[how](path)
    assert torch.equal(Splits.load(section(root=str(pictures), cache="disk")).train.images[:], usual)
    assert len(list(cache_home.rglob("*.npy"))) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ENOMEM])
def test_an_error_that_passes_is_not_remembered(
    number: int, pictures: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> Path:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(image_file, "regular", refuse)
        with pytest.raises(UserError, match=os.strerror(number)[1:]):
            Splits.load(section(root=str(pictures), on_bad="skip"))
    assert Splits.load(section(root=str(pictures), on_bad="skip")).facts()["skipped"] == 0


def _draw(path: Path) -> Path:
    Image.new("RGB", (12, 12)).save(path)
    return path


def _decode_and_die(root: Path, paths: list[Path]) -> None:
    def read(path: Path, size: int) -> np.ndarray:
        if path == paths[-1]:
            time.sleep(0.2)  # the others are written
            os.kill(os.getpid(), signal.SIGKILL)
        return np.ones((size, size, 3), np.uint8)

    decode_images(root, paths, 200, "disk", read=read)


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path: Path, cache_home: Path) -> None:
    paths = [_draw(tmp_path / f"{number}.png") for number in range(9)]
    process = multiprocessing.get_context("fork").Process(target=_decode_and_die, args=(tmp_path, paths))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (left,) = cache_home.rglob("*.tmp")
    assert left.stat().st_size > 0
    with writing(left.with_name("other.npy")) as file:  # as another run does, that is decoding
        file.write(b"pixels")
        file.flush()
        decode_images(tmp_path, paths, 12, "disk")
        assert [path.read_bytes() for path in cache_home.rglob("*.tmp")] == [b"pixels"]
    assert left.with_name("other.npy").read_bytes() == b"pixels"


def test_a_file_that_is_just_made_is_not_taken_for_one_that_was_left(tmp_path: Path) -> None:
    new, old = tmp_path / ".0a.tmp", tmp_path / ".0b.tmp"
    for path in (new, old, tmp_path / "mine.tmp"):
        path.touch()
    os.utime(old, (0, 0))
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.tmp")) == [".0a.tmp", "mine.tmp"]
