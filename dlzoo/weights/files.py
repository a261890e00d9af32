"""Read the weights in a file or folder of any common format, without running code that it contains."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dlzoo.core.errors import UserError, first_line
from dlzoo.core.files import reason, regular
from dlzoo.engine.checkpoint_file import load_intact

#: Files of weights in a folder, in order of preference: whole ones, then the indices of files in parts.
_WHOLE = ("model.safetensors", "pytorch_model.bin", "model.pth", "model.pt", "weights.pth", "weights.pt")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")

#: First bytes of files that are no weights -> what they are, and what to do.
_FOREIGN = {
    b"version https://git-lfs": "a pointer of git-lfs, not the file itself; fetch it with git lfs pull",
    b"<!doctype html": "an HTML page, as a server sends instead of a missing file; download the file again",
    b"<html": "an HTML page, as a server sends instead of a missing file; download the file again",
    b"GGUF": "a GGUF file, whose weights are quantised; name a file of the floating-point weights",
}
#: First bytes of what torch.save and pickle write.
_PICKLES = (b"PK", b"\x80")
_ONNX = "an ONNX graph; name a state dict, as torch.save(model.state_dict(), FILE) writes it"
_CODE = (
    "a pickle of Python objects, which could run code; in the program that made it, save the tensors alone:"
    " torch.save(model.state_dict(), FILE)"
)


def read_content(path: Path) -> Any:
    """Return the content of a file of weights, or of a folder with one: tensors by name, perhaps inside of mappings.

    Raises:
        UserError: if there is none, or it is damaged, or something else.
    """
    return _read_folder(path) if path.is_dir() else _read_file(path)


def _read_folder(folder: Path) -> Any:
    for name in _INDICES:
        if (folder / name).is_file():
            return _read_parts(folder / name)
    found = [folder / name for name in _WHOLE if (folder / name).is_file()]
    if not found:
        found = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES and path.is_file())
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:5])
            raise UserError(f"{folder}: {len(found)} files could be the weights ({names}); name one of them")
    if not found:
        raise UserError(f"{folder}: no run of dlzoo, and no file of weights, such as {_WHOLE[0]} or {_WHOLE[1]}")
    return _read_file(found[0])


def _read_parts(index: Path) -> dict[str, Tensor]:
    """Return the tensors of the files that an index lists."""
    try:
        content = json.loads(index.read_text())
        files = dict.fromkeys(content["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index}: no index of files with weights ({first_line(error)})") from error
    state: dict[str, Tensor] = {}
    for name in files:
        if not isinstance(name, str) or Path(name).name != name:
            raise UserError(f"{index}: {name!r} is not the name of a file in its folder")
        state |= _read_file(index.parent / name)
    absent = content["weight_map"].keys() - state.keys()
    if absent:
        raise UserError(f"{index}: {len(absent)} tensors are in none of its files, such as {min(absent)}")
    return state


def _read_file(path: Path) -> Any:
    try:
        regular(path)
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise UserError(f"{path}: cannot be read as weights ({reason(error)})") from error
    if kind := _foreign_kind(path, head):
        raise UserError(f"{path}: {kind}")
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of old formats
            return load_intact(path)
    except Exception as error:
        raise UserError(f"{path}: {_why(error, head)}") from error


def _foreign_kind(path: Path, head: bytes) -> str | None:
    """Return what a file is that has no weights that torch can load; None if it may have some."""
    start = head.lstrip()
    for beginning, kind in _FOREIGN.items():
        if start[: len(beginning)].lower() == beginning.lower():
            return kind
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and b"pytorch" in head[:64]):
        return _ONNX
    return None


def _why(error: Exception, head: bytes) -> str:
    if isinstance(error, OSError):
        return f"cannot be read as weights ({reason(error)})"
    if "TorchScript" in str(error):
        return "a TorchScript archive; name a state dict, as torch.save(model.state_dict(), FILE) writes it"
    if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error) and head.startswith(_PICKLES):
        return _CODE
    why = first_line(error) if isinstance(error, ValueError) else "damaged, or not a file of weights"
    return f"cannot be read as weights ({why})"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path}: needs safetensors: pip install 'dlzoo[safetensors]'") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: damaged, or not a file of safetensors ({first_line(error)})") from error


def read_facts(path: Path, content: Any) -> dict[str, Any]:
    """Return what a file, or a config.json or preprocessor_config.json beside it, says of its weights.

    Returns:
        "mean" and "std" (a number for each channel), and "classes" (their names): what is known of them.
    """
    folder = path if path.is_dir() else path.parent
    config, processor = (_read_json(folder / name) for name in ("config.json", "preprocessor_config.json"))
    trained = config.get("pretrained_cfg")
    trained = trained if isinstance(trained, Mapping) else {}
    labels = config.get("id2label")
    names = list(labels.values()) if isinstance(labels, Mapping) else config.get("label_names")
    meta = content.get("meta") if isinstance(content, Mapping) else None
    if isinstance(meta, Mapping):
        of_data = meta.get("dataset_meta")
        names = names or (of_data.get("classes") if isinstance(of_data, Mapping) else meta.get("CLASSES"))
    found = {
        "mean": _numbers(trained.get("mean") or processor.get("image_mean")),
        "std": _numbers(trained.get("std") or processor.get("image_std")),
        "classes": list(map(str, names)) if isinstance(names, (list, tuple)) else None,
    }
    return {name: value for name, value in found.items() if value}


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, (list, tuple)) or not all(type(each) in (int, float) for each in value):
        return None
    return [float(each) for each in value]
