"""`dlzoo predict`: classes for pictures, by the network of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dlzoo.config import read
from dlzoo.data.augment import size_after
from dlzoo.data.decode import read_picture
from dlzoo.data.feed import Normalise
from dlzoo.data.views import views
from dlzoo.errors import UserError
from dlzoo.registry import AUGMENTS
from dlzoo.runs.run_dir import RunDir
from dlzoo.size import network_of, without_weights
from dlzoo.weights import load_weights, transfer


def predict(path: str, files: Sequence[str], most: int = 5) -> list[dict[str, Any]]:
    """For each picture {"file", "classes": [{"name", "probability"}, ...]}, the likeliest first, at most `most`.

    Raises:
        UserError: if `path` is no run with a checkpoint, or a file is no picture.
    """
    run = RunDir.open(path)
    if not files:
        raise UserError("name one or more pictures: dlzoo predict run=DIR FILE ...")
    record, config = run.read(), without_weights(read(run.config_file))
    if record.get("kind", "images") != "images":
        raise UserError(f"{path} was trained on a table, and dlzoo predict is for pictures")
    state, normalisation = load_weights(run.path)
    size, channels, classes = record["image_size"], record["in_channels"], record["classes"]
    settings, augment = AUGMENTS.from_section(config["augment"])
    wiring = {"num_classes": len(classes), "in_channels": channels, "image_size": size_after(augment, size)}
    network = network_of(config, wiring)
    normalise = Normalise(torch.zeros(channels), torch.ones(channels))
    transfer(state, network, path)
    transfer(normalisation, normalise, path)
    network.eval()
    answers = []
    for file in files:
        pixels = torch.from_numpy(read_picture(Path(file), size, "RGB" if channels == 3 else "L").copy())
        with torch.inference_mode():
            seen = torch.cat(views(settings.test, augment)(pixels.permute(2, 0, 1)[None]))
            probabilities = network(normalise(seen)).mean(0).softmax(0)
        top = probabilities.topk(min(most, len(classes)))
        answers.append(
            {
                "file": file,
                "classes": [
                    {"name": classes[index], "probability": probability}
                    for probability, index in zip(top.values.tolist(), top.indices.tolist(), strict=True)
                ],
            }
        )
    return answers
