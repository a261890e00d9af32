"""Folders that are parts of a data set, and folders that are classes."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from zlib import crc32

import pytest

from dlzoo.core.errors import UserError
from dlzoo.data.part_names import part_of, subfolders
from dlzoo.data.splits import Splits
from tests.conftest import draw_pictures
from tests.data.datasets.test_image_folder import section


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, "train") for name in ("train", "Train", "TRAIN", "Training", "train2017", "seg_train", "train_01")),
        *((name, "val") for name in ("val", "VAL", "valid", "Validation", "dev", "eval", "val2017", "my-valid")),
        *((name, "test") for name in ("test", "Testing", "seg_test", "test2007")),
        *((name, None) for name in ("fold_1", "cat", "train_station", "contest", "values", "", "2017", "holdout")),
    ],
)
def test_names_of_parts(name: str, part: str | None) -> None:
    assert part_of(name) == part


def layout(root: Path, counts: dict[str, int]) -> None:
    """Pictures of cats and dogs in each folder, as many of each class as said."""
    for folder, count in counts.items():
        for name in ("cat", "dog"):
            draw_pictures(root / folder / name, count, seed=crc32(f"{folder}/{name}".encode()))


def sizes(root: Path, **settings: object) -> tuple[int, int, int]:
    splits = Splits.load(section(root=str(root), val_fraction=0.0, **settings))
    assert splits.classes == ("cat", "dog")
    return len(splits.train), 0 if splits.val is None else len(splits.val), len(splits.test)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"Training": 6, "Testing": 3}, (12, 0, 6)),
        ({"TRAIN": 6, "VAL": 3}, (12, 0, 6)),
        ({"seg_train/seg_train": 6, "seg_test/seg_test": 3}, (12, 0, 6)),
        *(({"train": 6, name: 3, "test": 2}, (12, 6, 4)) for name in ("valid", "validation", "dev", "Eval", "val2017")),
        ({"train": 6, "valid": 3}, (12, 0, 6)),
        ({"train": 6, "test": 3, "__MACOSX/x": 2, ".Trash-0/y": 2}, (12, 0, 6)),
    ],
    ids=str,
)
def test_parts_are_found(counts: dict, expected: tuple, tmp_path: Path, cache_home: Path) -> None:
    layout(tmp_path / "pets", counts)
    assert sizes(tmp_path / "pets") == expected


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"fold_1": 2, "fold_2": 2, "fold_3": 2}, "fold_1, fold_2, fold_3 in .* look like parts of a data set"),
        ({"first": 2, "second": 2}, "first, second in .* look like parts"),
        ({"test": 2, "val": 2}, "test, val in .* look like parts"),
        ({"train": 2, "val": 2, "valid": 2}, "are both named for the val part"),
        ({"train": 2, "test": 2, "holdout": 2}, "holdout in .* has class folders, but the name of no part"),
        ({"train": 2, "holdout": 2}, r"has train/ but no test or val folder; add one \(there is holdout\)"),
    ],
    ids=str,
)
def test_what_is_neither_parts_nor_classes_is_one_line(
    counts: dict, says: str, tmp_path: Path, cache_home: Path
) -> None:
    layout(tmp_path / "pets", counts)
    with pytest.raises(UserError, match=says) as raised:
        sizes(tmp_path / "pets")
    assert "\n" not in str(raised.value)


def test_images_and_masks_are_no_classes(tmp_path: Path, cache_home: Path) -> None:
    for name in ("images", "masks"):
        draw_pictures(tmp_path / "pets" / name, 4)
    with pytest.raises(UserError, match="has images and masks: images with masks or labels"):
        sizes(tmp_path / "pets")


def test_a_class_may_have_the_name_of_a_part(tmp_path: Path, cache_home: Path) -> None:
    for seed, name in enumerate(("dev", "eval", "train")):
        draw_pictures(tmp_path / "vehicles" / name, 10, seed=seed)
    splits = Splits.load(section(root=str(tmp_path / "vehicles"), val_fraction=0.0))
    assert splits.classes == ("dev", "eval", "train")


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".Trash-1000/files", "deep/@eaDir"])
def test_folders_that_programs_leave_behind_are_skipped_at_every_depth(
    hidden: str, tmp_path: Path, cache_home: Path
) -> None:
    layout(tmp_path / "pets", {"train": 4, "test": 2})
    copies = tmp_path / "pets" / "test" / "cat" / hidden
    copies.mkdir(parents=True)
    for path in (tmp_path / "pets" / "train" / "cat").glob("*.png"):
        shutil.copy(path, copies / f"{path.stem}-checkpoint.png")
    assert sizes(tmp_path / "pets") == (8, 0, 4)


def test_folders_in_what_is_none_and_in_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert subfolders(tmp_path / "file") == subfolders(tmp_path / "nowhere") == []

    def deny(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(UserError, match=r"cannot be read \(permission denied\)"):
        subfolders(tmp_path)


def test_the_message_names_what_was_seen(tmp_path: Path, cache_home: Path) -> None:
    layout(tmp_path / "pets", {"a": 2, "b": 2})
    with pytest.raises(UserError, match=re.escape("name them train, val and test, or set data.root to one of them")):
        sizes(tmp_path / "pets")
