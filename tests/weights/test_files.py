"""Files of weights of other programs: what is read, and what is refused in one line without running its code."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dlzoo.core.errors import UserError
from dlzoo.weights.files import read_content, read_facts
from dlzoo.weights.unwrap import CONTAINERS, PREFIXES, find_state

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "norm.running_mean": torch.zeros(2)}


def check(path: Path) -> None:
    state = find_state(read_content(path), path)
    assert state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("container", ["", *CONTAINERS])
@pytest.mark.parametrize("prefix", ["", *PREFIXES, "module._orig_mod."])
def test_containers_and_prefixes(container: str, prefix: str, tmp_path: Path) -> None:
    content = {f"{prefix}{key}": value for key, value in STATE.items()}
    torch.save({container: content, "epoch": 3, "args": {"lr": 0.1}} if container else content, tmp_path / "w.pth")
    check(tmp_path / "w.pth")


def test_averaged_weights_come_first_and_their_counter_is_no_weight(tmp_path: Path) -> None:
    averaged = {"n_averaged": torch.tensor(7)} | {f"module.{key}": value for key, value in STATE.items()}
    torch.save({"model": {"conv.weight": torch.ones(1)}, "model_ema": averaged}, tmp_path / "checkpoint.pth")
    check(tmp_path / "checkpoint.pth")


def test_safetensors_alone_in_parts_and_in_a_folder(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(STATE, tmp_path / "model.safetensors")
    check(tmp_path / "model.safetensors")
    check(tmp_path)
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, (key, value) in enumerate(STATE.items()):
        safetensors.save_file({key: value}, parts / f"model-{number}.safetensors")
    weight_map = {key: f"model-{number}.safetensors" for number, key in enumerate(STATE)}
    index = parts / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    check(parts)
    index.write_text(json.dumps({"weight_map": weight_map | {"other": "model-0.safetensors"}}))
    with pytest.raises(UserError, match="1 tensors are in none of its files, such as other"):
        read_content(parts)
    index.write_text(json.dumps({"weight_map": {"conv.weight": "../model.safetensors"}}))
    with pytest.raises(UserError, match="is not the name of a file in its folder"):
        read_content(parts)


def test_what_a_folder_says_of_its_weights(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    assert read_facts(tmp_path, read_content(tmp_path)) == {}
    (tmp_path / "config.json").write_text(
        json.dumps({"pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}, "label_names": ["cat", "dog"]})
    )
    facts = {"mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0], "classes": ["cat", "dog"]}
    assert read_facts(tmp_path, STATE) == facts == read_facts(tmp_path / "pytorch_model.bin", STATE)
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "cat", "1": "dog"}}))
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]})
    )
    assert read_facts(tmp_path, STATE) == facts
    meta = {"meta": {"dataset_meta": {"classes": ["cat", "dog"]}}, "state_dict": STATE}
    assert read_facts(tmp_path / "elsewhere" / "w.pth", meta) == {"classes": ["cat", "dog"]}


class Evil:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return Path.touch, (Path("ran"),)  # pyright: ignore[reportReturnType]


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": STATE, "hook": Evil()}))


def module(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


def half(path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))  # pyright: ignore


def quantised(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"w": torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)}, path)


@pytest.mark.parametrize(
    ("write", "suffix", "says"),
    [
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "pth", "git-lfs"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>404</html>"), "pth", "an HTML page"),
        (lambda path: path.write_text("<HTML>403"), "safetensors", "an HTML page"),
        (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.1"), "pth", "an ONNX graph"),
        (lambda path: path.write_bytes(b"\x00"), "onnx", "an ONNX graph"),
        (lambda path: path.write_bytes(b"GGUF\x03"), "bin", "a GGUF file"),
        (pickled, "pth", "could run code"),
        (module, "pth", "could run code"),
        (half, "pth", "cannot be read as weights"),
        (scripted, "pt", "a TorchScript archive"),
        (quantised, "pth", "a quantised state dict"),
        (lambda path: path.write_bytes(b""), "pth", "cannot be read as weights"),
        (lambda path: torch.save({"epoch": 3}, path), "pth", "contains no weights"),
        (lambda path: torch.save([1, 2], path), "pth", "contains no weights"),
        (lambda path: path.mkdir(), "d", "no run of dlzoo, and no file of weights"),
        (lambda path: None, "pth", "no such file"),
        (lambda path: path.write_bytes(b'\x09\x00\x00\x00\x00\x00\x00\x00{"a": 1}'), "safetensors", "safetensors"),
    ],
)
def test_other_files_are_one_line_and_run_nothing(
    write: Callable[[Path], object], suffix: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"w.{suffix}"
    write(path)
    with pytest.raises(UserError, match=says) as caught:
        find_state(read_content(path), path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_several_files_in_a_folder_are_not_guessed(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        torch.save(STATE, tmp_path / name)
    with pytest.raises(UserError, match=r"2 files could be the weights \(a.pth, b.pth\)"):
        read_content(tmp_path)
    (tmp_path / "b.pth").unlink()
    check(tmp_path)
