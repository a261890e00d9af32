"""Overfit each model to 512 images: the steps until 95 % are classified correctly, in evaluation mode.

python scripts/prove_training.py cifar10/train [NAME ...] needs CIFAR-10 as a folder of images, one folder per class.
Widths and image sizes are reduced so that a model takes about a minute on one CPU core.
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.builder.model import build_model
from dlzoo.config import compose
from dlzoo.core.errors import UserError
from dlzoo.core.registries import MODELS
from dlzoo.data.loader import Normalise
from dlzoo.data.split import channel_statistics
from dlzoo.data.splits import Splits
from dlzoo.layers.head import WithAuxiliary

#: Prefix of a model's name -> (settings, image size). The longest matching prefix is used.
SCALED: dict[str, tuple[dict[str, object], int]] = {
    "": ({}, 32),
    "alexnet": ({"stem": "imagenet", "head": {"name": "fc", "hidden": [256, 256]}}, 64),
    "vgg": ({"width": 16, "head": {"name": "fc", "hidden": [256, 256]}}, 32),
    "vgg19": ({"width": 16, "norm": "bn", "head": {"name": "fc", "hidden": [256, 256]}}, 32),
    "nin": ({"width": 64, "drop": "none"}, 32),
    "googlenet": ({"stem": "imagenet"}, 64),
    "resnet": ({"width": 16}, 16),
    "resnet2": ({"width": 8}, 32),
    "resnet32": ({"width": 8}, 32),
    "resnet34": ({"width": 16}, 16),
    "resnet44": ({"width": 8}, 32),
    "resnet56": ({"width": 8}, 32),
    "resnet110": ({"width": 8}, 32),
    "resnext": ({"width": 16}, 16),
    "preact": ({"width": 16}, 16),
    "wrn": ({"width": 4, "widen": 4}, 32),
    "densenet": ({"growth_rate": 12}, 16),
    "mobilenet": ({"width": 0.5}, 32),
    "hrnet": ({"width": 8}, 16),
    "darknet": ({"width": 8}, 32),
    "cspdarknet": ({"width": 8}, 32),
    "timm": ({"arch": "resnet18", "norm": "gn"}, 64),
    "torchvision": ({"arch": "mobilenet_v3_small", "norm": "bn"}, 64),
}
MOST_STEPS, BATCH, LOOK = 1000, 64, 20


def scaled(name: str) -> tuple[dict[str, object], int]:
    return SCALED[max((start for start in SCALED if name.startswith(start)), key=len)]


def images_of(root: str) -> tuple[Tensor, Tensor]:
    """Return 512 normalised images (N, 3, 32, 32) and their labels."""
    section = compose(["data=image_folder", f"data.root={root}", "data.limit=512", "data.val_fraction=0.0"])["data"]
    split = Splits.load(section).train
    indices = torch.arange(512)
    pixels = torch.as_tensor(split.images[indices]).permute(0, 3, 1, 2)
    return Normalise(*channel_statistics(split.images))(pixels), split.labels[indices]


def steps_to_learn(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[int, float]:
    """Return (steps, accuracy in evaluation mode) when the accuracy is 95 %, or after the last step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    numbers = torch.Generator().manual_seed(0)
    accuracy = 0.0
    for step in range(1, MOST_STEPS + 1):
        chosen = torch.randint(len(images), (BATCH,), generator=numbers)
        output = network.train()(images[chosen])
        logits, auxiliary, weight = output if isinstance(output, WithAuxiliary) else (output, (), 0.0)
        loss = F.cross_entropy(logits, labels[chosen])
        loss = loss + weight * sum(F.cross_entropy(other, labels[chosen]) for other in auxiliary)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % LOOK == 0:
            with torch.no_grad():
                correct = [network.eval()(part).argmax(1) for part in images.split(128)]
            accuracy = (torch.cat(correct) == labels).float().mean().item()
            if accuracy >= 0.95:
                return step, accuracy
    return MOST_STEPS, accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="a folder with one folder of images per class")
    parser.add_argument("names", nargs="*", help="names of models (default: all)")
    arguments = parser.parse_args()
    images, labels = images_of(arguments.root)
    print("| model | settings | px | parameters | steps | accuracy | seconds |\n|---|---|---|---|---|---|---|")
    for name in arguments.names or MODELS.names():
        settings, size = scaled(name)
        torch.manual_seed(0)
        try:
            network = build_model(name, num_classes=10, image_size=size, **settings)  # pyright: ignore[reportArgumentType]
        except UserError as error:
            print(f"| {name} | {error} |", flush=True)
            continue
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        inputs = images if size == 32 else F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        began = time.perf_counter()
        steps, accuracy = steps_to_learn(network, inputs, labels)
        params = sum(parameter.numel() for parameter in network.parameters())
        words = " ".join(f"{key}={value}" for key, value in settings.items())
        seconds = time.perf_counter() - began
        print(f"| {name} | {words} | {size} | {params:,} | {steps} | {accuracy:.3f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
