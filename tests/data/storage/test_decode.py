"""Decoded images in a file: one that is not as it was written is decoded again; passing errors are not kept."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dlzoo.core.errors import UserError
from dlzoo.data.splits import Splits
from dlzoo.data.storage import image_file
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
