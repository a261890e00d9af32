"""Sizes of the reference implementations (torchvision, timm, the papers' own), for `dlzoo show` and the tests."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """A model's size at its own image size and classes; `macs` in millions for one image, None if nobody says."""

    image_size: int
    num_classes: int
    params: int
    macs: float | None


#: Entry -> sizes with the defaults of the entry, the first at the size that it was made for.
SIZES: dict[str, list[Size]] = {
    name: [Size(224, 1000, params, macs)]
    for name, params, macs in [
        ("alexnet", 61_100_840, 714),
        ("alexnet_2012", 60_965_224, None),
        ("vgg11", 132_863_336, None),
        ("vgg13", 133_047_848, None),
        ("vgg16", 138_357_544, 15_470),
        ("vgg19", 143_667_240, None),
        ("googlenet", 6_624_904, 1_498),
        ("resnet18", 11_689_512, 1_814),
        ("resnet34", 21_797_672, 3_664),
        ("resnet50", 25_557_032, 4_089),
        ("resnet101", 44_549_160, 7_801),
        ("resnet152", 60_192_808, 11_514),
        ("resnext50_32x4d", 25_028_904, 4_231),
        ("resnext101_32x8d", 88_791_336, 16_414),
        ("densenet121", 7_978_856, 2_834),
        ("densenet161", 28_681_000, 7_728),
        ("densenet169", 14_149_480, 3_360),
        ("densenet201", 20_013_928, 4_291),
        ("mobilenet_v1", 4_231_976, 569),
        ("mobilenet_v2", 3_504_872, 301),
        ("shufflenet_v2_x0_5", 1_366_792, 40.5),
        ("shufflenet_v2_x1_0", 2_278_604, 145),
        ("darknet53", 41_609_928, 7_109),
        ("cspdarknet53", 27_642_184, 5_003),
        ("hrnet_w18", 21_299_004, None),
    ]
}
for _name, _params, _macs in [
    ("resnet20", 269_722, 40.6),
    ("resnet32", 464_154, 68.9),
    ("resnet44", 658_586, 97.2),
    ("resnet56", 853_018, 125.5),
    ("resnet110", 1_727_962, 252.9),
    ("resnet18", 11_173_962, 555.4),
    ("wrn_28_10", 36_479_194, 5_243),
    ("resnext29_8x64d", 34_426_698, 5_387),
    ("resnext29_16x64d", 68_155_210, 10_689),
    ("densenet_bc_100_12", 769_162, 287.9),
    ("densenet_bc_190_40", 25_624_430, 9_302),
    ("mobilenet_v2", 2_236_682, 88.0),
]:
    SIZES.setdefault(_name, []).append(Size(32, 10, _params, _macs))
