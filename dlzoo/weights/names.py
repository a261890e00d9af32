"""Names of tensors in other programs, as torchvision and timm name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

#: Patterns of names -> what replaces them, one list a program. All that fit are replaced, in order.
Rules = list[tuple[str, str]]

#: MMPretrain's classifiers: the backbone and the head apart.
_MMPRETRAIN: Rules = [(r"^backbone\.", ""), (r"^head\.fc\.", "fc.")]
#: Detectron2's ResNets.
_DETECTRON2: Rules = [
    (r"^(backbone\.)?(bottom_up\.)?", ""),
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    *((rf"^res{stage}\.", f"layer{stage - 1}.") for stage in (2, 3, 4, 5)),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"^linear\.", "fc."),
]
#: DenseNets that torchvision saved before 2018.
_OLD_DENSENET: Rules = [(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.")]

_RULES = (_MMPRETRAIN, _DETECTRON2, _OLD_DENSENET)

#: Parts of a block of EfficientNet-PyTorch with and without an expansion -> their names in timm.
_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def renamings(known: Iterable[str]) -> list[Callable[[Iterable[str]], dict[str, str]]]:
    """Return functions from the names in a file to the names that torchvision or timm have for them.

    Args:
        known: the names of torchvision or timm.
    """
    known = list(known)
    return [
        lambda names: {name: name for name in names},
        *(lambda names, rules=rules: {name: _replaced(name, rules) for name in names} for rules in _RULES),
        lambda names: _efficientnet(names, known),
    ]


def _replaced(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _efficientnet(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return the names of EfficientNet-PyTorch, whose blocks are numbered through, as timm names them: stage.block."""
    names = list(names)
    found = (re.match(r"blocks\.(\d+)\.(\d+)\.", name) for name in known)
    blocks = list(dict.fromkeys(match[0] for match in found if match))
    expanded = {name.split(".")[1] for name in names if name.startswith("_blocks.") and "._expand_conv." in name}
    return {name: _efficientnet_name(name, blocks, expanded) for name in names}


def _efficientnet_name(name: str, blocks: list[str], expanded: Iterable[str]) -> str:
    words = name.split(".")
    if words[0] != "_blocks":
        return ".".join([_AROUND.get(words[0], words[0]), *words[1:]])
    if len(words) < 4 or not words[1].isdigit() or int(words[1]) >= len(blocks):
        return name
    parts: Mapping[str, str] = _SQUEEZE | (_EXPANDED if words[1] in expanded else _SEPARABLE)
    return blocks[int(words[1])] + ".".join([parts.get(words[2], words[2]), *words[3:]])
