"""Suggestions: every one that is printed composes, other programs' words are known, and look-alikes are not offered."""

import json
import random
import re
import shlex
from collections.abc import Iterator

import pytest

from dlzoo import config
from dlzoo.config import compose, suggest
from dlzoo.config.other_keys import KEYS, NO_KEYS, VALUES
from dlzoo.config.settings import RunSettings
from dlzoo.core import index
from dlzoo.core.errors import UserError, did_you_mean
from dlzoo.core.nearest import edit_distance, nearest, simplify
from dlzoo.core.other_words import COMMANDS, NAMES, NO_NAMES, NUMBERS
from dlzoo.core.registries import NORMS, PARTS, REGISTRIES
from dlzoo.core.schema import settings_of

#: Choices that the default model does not support -> a model that does.
MODELS = {"upsample": "hrnet_w18"} | dict.fromkeys(("neck", "box_loss", "nms", "backbone"), "yolov3")


def suggested(message: str) -> Iterator[list[str]]:
    """The settings that a message suggests to type."""
    for found in re.findall(r"did you mean ([^?]+)\?|as in (.+)$|`dlzoo (?:train|compare) (\w[^`]+)`", message):
        for words in "".join(found).split(" or "):
            yield [word for word in shlex.split(words) if not word.startswith("scale=")]


def error(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        compose(words)
    return str(caught.value)


def check_composes(message: str, *context: str) -> None:
    found = list(suggested(message))
    assert found, message
    for words in found:
        assert all("=" in word for word in words), message
        compose([*context, *words], in_sweep=True)


FIRST = {
    "norm=batchnorm": "norm=bn",
    "norm=BatchNorm2d": "norm=bn",
    "norm=group": "norm=gn",
    "epochs=10": "trainer.max_epochs=10",
    "lr=0.1": "optimizer.lr=0.1",
    "trainer.max_epoch=10": "trainer.max_epochs=10",
    "trainer.epochs=10": "trainer.max_epochs=10",
    "train.epochs=10": "trainer.max_epochs=10",
    "batch_size=8": "data.batch_size=8",
    "data.batchsize=8": "data.batch_size=8",
    "gpus=2": "trainer=gpu trainer.devices=2",
    "device=cuda": "trainer=gpu",
    "device=cpu": "trainer=cpu",
    "wd=0.1": "optimizer.weight_decay=0.1",
    "weight_decay=0.1": "optimizer.weight_decay=0.1",
    "optim=sgd": "optimizer=sgd",
    "optim=AdamW": "optimizer=adamw",
    "optim.lr=0.1": "optimizer.lr=0.1",
    "optimizer=adamW": "optimizer=adamw",
    "optimizer.learning_rate=0.1": "optimizer.lr=0.1",
    "dataset=cifar10": "data=cifar10",
    "arch=resnet50": "model=resnet50",
    "loss=ce": "loss=cross_entropy",
    "scheduler=CosineAnnealingLR": "schedule=cosine",
    "schedule=cosine_annealing": "schedule=cosine",
    "activation=gelu": "act=gelu",
    "dropout=0.5": "drop=dropout drop.rate=0.5",
    "drop=0.5": "drop=dropout drop.rate=0.5",
    "use_checkpoint=true": "trainer.checkpoint_activations=true",
    "nms.iou_threshold=0.5": "model=yolo_tiny data=shapes nms=nms nms.iou=0.5",
    "hooks=tensorbord": "hooks=[tensorboard]",
    "drop.rate=0.5": "drop=dropout drop.rate=0.5",
    "drop=spatial dropout=0.5": "drop.rate=0.5",
    "img_size=64": "data=image_folder data.image_size=64",
    "data=shapes img_size=64": "data.image_size=64",
    "pretrained=true": "model.pretrained=true",
    "precision=16-mixed": "trainer.precision=fp16",
    "trainer.precision=32-true": "trainer.precision=fp32",
    "fp16=true": "trainer.precision=fp16",
    "amp=true": "trainer.precision=fp16",
    "norm.num_groups=8": "norm=gn norm.num_groups=8",
    "norm=gn norm.groups=8": "norm.num_groups=8",
    "gamma=2": "loss=focal loss.gamma=2",
    "sead=1": "seed=1",
    "dataroot=/my~images": "data=image_folder 'data.root=/my~images'",
    "trainervalidate_every_epochs=2": "trainer.validate_every_epochs=2",
    "freeze=encoder": "freeze=backbone",
    "trainer.compile=yes": "trainer.compile=true",
    "hooks=[tb]": "hooks=[tensorboard]",
    "model=resnet21": "model=resnet20",
    "resnet20": "model=resnet20",
}


@pytest.mark.parametrize("typed", FIRST)
def test_what_people_type_first_gets_the_settings_to_type(typed: str) -> None:
    *context, _ = typed.split()
    message = error(*typed.split())
    assert f"did you mean {FIRST[typed]}?" in message
    check_composes(message, *context)


OTHERWISE = {
    "workers=4": "leave it out",
    "amp=false": "leave it out",
    "num_classes=10": "taken from the data",
    "scale=tiny": "`dlzoo compare experiment=bn_vs_gn scale=tiny`",
    "data=mnist": "data=digits is similar (8 px, no download), and so is data=fashion_mnist data.download=true",
    "model=vit_b_16": "model=torchvision model.arch=NAME",
    "augment.mixup": "type key=value: the setting is augment.mixup, a number from 0 to 1,000, as in augment.mixup=0.0",
    "epochs": "as in trainer.max_epochs=20",
    "epochs=ten": "the setting is trainer.max_epochs, an integer >= 1, as in trainer.max_epochs=20",
    "model": "`dlzoo list model` lists the names",
    "device=mps": "the choice is trainer: unknown trainer 'mps'; available: auto",
    "model = resnet20": "has a space before the equals sign; type model=resnet20",
    "logger=csv": "loggers and callbacks are hooks: hooks=[tensorboard,csv]",
    "zzz=3": "`dlzoo find zzz` searches",
    "optimizer.zzz=3": "its settings: lr_reference_batch",
}


@pytest.mark.parametrize("typed", OTHERWISE)
def test_what_has_no_counterpart_is_explained(typed: str) -> None:
    message = error(typed)
    assert OTHERWISE[typed] in message
    assert "did you mean" not in message


@pytest.mark.parametrize(
    "name", ["mask2former", "detr", "fcos", "segformer", "bert", "gpt2", "xyz", "pointnet", "gan", "vae"]
)
def test_what_does_not_exist_is_not_answered_with_a_look_alike(name: str) -> None:
    message = error(f"model={name}")
    assert "did you mean" not in message
    assert "`dlzoo list model` lists them" in message


def test_every_other_word_for_a_key_gets_settings_that_compose() -> None:
    for word, meant in KEYS.items():
        key = next((each.removesuffix("={}") for each in meant.split() if each.endswith("={}")), None)
        value = "true"
        if key in config.choices():
            value = config.names_of(key)[-1]
        elif key is not None:
            section, _, name = key.rpartition(".")
            of = [each.partition("=")[2] for each in meant.split() if each.startswith(f"{section}=")]
            entry = of[0] if of else config.default_choices().get(section, "default")
            schema = (config.settings_for(section, entry) if section else settings_of(RunSettings))[name]
            value = json.dumps(schema["default"]).replace(" ", "").replace('"', "")
        message = suggest.for_key(word, value, {})
        assert "did you mean" in message, (word, message)
        check_composes(message)


def test_advice_on_a_key_names_only_what_works() -> None:
    known = {*config.choices(), *settings_of(RunSettings)} | {
        f"{section}.{name}" for section in config.SECTIONS for name in config.settings_for(section)
    }
    for word, advice in NO_KEYS.items():
        assert suggest.for_key(word, "1", {}) == advice
        assert word not in known
        for typed in suggested(advice):
            compose(typed, in_sweep=True)


def test_every_other_word_for_a_name_gets_a_name_that_composes() -> None:
    for choice, words in NAMES.items():
        names = config.names_of(choice)
        for word, name in words.items():
            assert name in names, (choice, word)
            assert word not in map(simplify, names), f"{choice}={word} is a name"
            assert word == simplify(word)
            message = str(config.unknown_name(choice, word))
            if choice in ("executor", "hook"):
                assert name in message
                continue
            assert f"did you mean {choice}={name}?" in message
            if choice in PARTS or choice in MODELS:
                check_composes(message, f"model={MODELS.get(choice, 'resnet20')}")
            else:
                check_composes(message)
    for choice, words in NO_NAMES.items():
        for word, advice in words.items():
            assert advice in str(config.unknown_name(choice, word))
            for typed in re.findall(r"(\w+=\w+(?: \w+\.\w+=\w+)?)", advice):
                compose(typed.split())
    for choice, template in NUMBERS.items():
        check_composes(error(f"{choice}=0.5"))
        assert template.format(0.5) in error(f"{choice}=0.5")


def test_every_other_word_for_a_value_gets_a_value_that_composes() -> None:
    for key, words in VALUES.items():
        context = ["data=csv"] if key in ("data.task", "data.scale") else []
        for word in words:
            message = error(*context, f"{key}={word}")
            assert f"did you mean {key}={words[word]}?" in message
            check_composes(message, *context)


def test_every_other_word_for_a_command_is_a_command() -> None:
    from dlzoo import commands

    for word, meant in COMMANDS.items():
        assert word not in commands.names()
        assert meant.split()[0] in commands.names()


@pytest.mark.parametrize("seed", range(4))
def test_the_suggestion_for_a_misspelt_key_or_name_composes(seed: int) -> None:
    numbers = random.Random(seed)
    keys = [f"{section}.{name}" for section in config.SECTIONS for name in config.settings_for(section)]
    keys += [key.rpartition(".")[2] for key in keys]
    choices = [choice for choice in (*REGISTRIES, "trainer") if choice not in MODELS]
    names = [f"{choice}={name}" for choice in choices for name in config.names_of(choice)]
    for typed in [*(f"{key}=1" for key in numbers.sample(keys, 15)), *numbers.sample(names, 15)]:
        place = numbers.randrange(len(typed) - 3)
        wrong = typed[:place] + typed[place + 1 :]
        try:
            compose([wrong])
        except UserError as caught:
            message = str(caught)
            assert "'default'" not in message and "=default" not in message
            for words in suggested(message):
                compose(words)


def test_distances_and_limits() -> None:
    assert [edit_distance(*pair) for pair in (("gelu", "gleu"), ("unet", "lenet"), ("", "ab"), ("ab", "ab"))] == [
        1,
        2,
        2,
        0,
    ]
    assert nearest("GN", ["gn", "bn"]) == ["gn"]
    assert nearest("gm", ["gn", "bn"]) == []  # half of the word would be another
    assert nearest("unet", ["lenet", "resnet18"]) == []
    assert nearest("cifar", ["cifar10", "cifar100", "digits"]) == ["cifar10", "cifar100"]
    assert nearest("", ["a"]) == []
    assert did_you_mean("x", ["a", "default"]) == "available: a"
    many = [f"net{number}" for number in range(20)]
    assert did_you_mean("q", many, "dlzoo list model").endswith("; `dlzoo list model` lists them")
    with pytest.raises(UserError, match="did you mean 'bn'"):
        NORMS["batchnorm"]


def test_a_suggestion_is_for_the_entry_that_was_chosen() -> None:
    for name in index.available("optimizer"):
        message = error(f"optimizer={name}", "learning_rate=0.5")
        check_composes(message, f"optimizer={name}")
        assert "did you mean optimizer.lr=0.5?" in message


@pytest.mark.parametrize("typed", ["plots=True", "cos_lr=true", "box=7.5", "shear=0", "model.backbone.depth=50"])
def test_a_number_or_a_truth_value_is_no_name_of_a_choice(typed: str) -> None:
    assert "the choice is" not in error(typed)


def test_the_settings_that_are_listed_are_those_of_the_entry() -> None:
    assert "loss=cross_entropy has no such setting; its settings: label_smoothing, class_weights; " in error(
        "loss.reduction_type=2"
    )


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        ("neck=pan", "data=shapes model=yolo_tiny"),
        ("nms=soft_nms_gaussian", "data=shapes model=yolo_tiny"),
        ("backbone=resnet50", "data=shapes model=yolo_tiny"),
        ("upsample=nearest", "model=hrnet_w18"),
        ("data=shapes model=lenet box_loss=diou", "model=yolo_tiny"),
        ("data=shapes model=unet_tiny backbone=resnet18", "model=deeplabv3"),
        ("model=linear norm=gn", None),
        ("data=diabetes model=linear attention=se", None),
    ],
)
def test_a_choice_that_a_model_does_not_support_is_told_with_a_model_that_does(
    words: str, suggestion: str | None
) -> None:
    """What to type instead composes, together with the rest of what was typed."""
    _, _, found = error(*words.split()).partition("such as ")
    assert suggestion is None or found == suggestion
    replaced = {word.partition("=")[0] for word in found.split()}
    compose([*(word for word in words.split() if word.partition("=")[0] not in replaced), *found.split()])
