"""SSD, RetinaNet and Faster R-CNN: against torchvision's own, part by part, and by what every detector must do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection, resnet18
from torchvision.models.detection import backbone_utils
from torchvision.models.detection._utils import Matcher, SSDMatcher
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from dlzoo.boxes.objects import MatchedTargets, pad_labels
from dlzoo.builder.model import build_loss, build_model
from dlzoo.core.errors import UserError
from dlzoo.core.registries import NECKS
from dlzoo.tasks.detection.losses import DetectionLoss
from dlzoo.tasks.detection.matcher import match_anchors
from dlzoo.tasks.detection.models.anchor_head import HeadOutputs
from dlzoo.tasks.detection.models.ssd import default_boxes, default_shapes

NAMES = ("ssd300", "retinanet", "faster_rcnn")
BACKBONE = {"name": "resnet18", "width": 8}
SMALL: dict[str, dict[str, Any]] = {
    "ssd300": {"width": 32},
    "retinanet": {"width": 16, "depth": 1, "neck": {"name": "fpn", "width": 16, "plain": True}},
    "faster_rcnn": {
        **{"width": 16, "neck": {"name": "fpn", "width": 16, "plain": True}},
        **{"hidden": (32,), "proposals": 20, "rois": 16},
    },
}


def small(name: str, *, image_size: int = 128, **choices: Any) -> Any:
    torch.manual_seed(0)
    settings = {"num_classes": 3, "image_size": image_size, "backbone": BACKBONE, **SMALL[name]}
    return build_model(name, **(settings | choices))


def images(count: int = 2, size: int = 128) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def rows(count: int, seed: int = 0, *, size: int = 128, classes: int = 3) -> Tensor:
    """Objects (count, 6), none of them difficult."""
    numbers = torch.rand(count, 5, generator=torch.Generator().manual_seed(seed))
    corner = numbers[:, :2] * size * 0.6
    far = (corner + size * (0.05 + 0.6 * numbers[:, 2:4])).clamp(max=size)
    return torch.cat((corner, far, (numbers[:, 4:] * classes).floor(), torch.zeros(count, 1)), 1)


def learnt(
    stages: list[MatchedTargets], box_loss: str = "smooth_l1", softmax_classes: bool = True, **settings: Any
) -> list[Tensor]:
    """The terms of the loss."""
    loss = build_loss("cross_entropy") if softmax_classes else build_loss("focal", form="sigmoid", alpha=0.25)
    on_offsets = box_loss == "smooth_l1"
    return list(DetectionLoss(build_loss(box_loss, **settings), loss, on_offsets=on_offsets)(stages))


def targets(*images: Tensor, first_class: int = 1) -> list[dict[str, Tensor]]:
    """As torchvision has them, where 0 is background unless classes are independent."""
    return [{"boxes": image[:, :4], "labels": image[:, 4].long() + first_class} for image in images]


def copy(ours: nn.Module, theirs: nn.Module) -> None:
    """Their weights, in the order that they come in."""
    with torch.no_grad():
        for to, value in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            assert to.shape == value.shape
            to.copy_(value)


def background_first(logits: Tensor) -> Tensor:
    return logits.roll(1, -1)


@pytest.mark.parametrize(
    ("name", "num_classes", "reference"),
    [
        ("ssd300", 20, detection.ssd300_vgg16),
        ("retinanet", 21, detection.retinanet_resnet50_fpn),
        ("faster_rcnn", 20, detection.fasterrcnn_resnet50_fpn),
    ],
)
def test_as_many_parameters_as_torchvision(name: str, num_classes: int, reference: Callable[..., nn.Module]) -> None:
    with torch.device("meta"):
        theirs = reference(weights=None, weights_backbone=None, num_classes=21)
        ours = build_model(name, num_classes=num_classes, image_size=300)
    count, expected = (sum(p.numel() for p in network.parameters()) for network in (ours, theirs))
    assert count == expected == {"ssd300": 26_285_486, "retinanet": 32_615_969, "faster_rcnn": 41_449_656}[name]


def test_default_boxes_are_torchvisions() -> None:
    sides = [38, 19, 10, 5, 3, 1]
    scales = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    theirs = DefaultBoxGenerator(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]], scales=scales, steps=[8, 16, 32, 64, 100, 300]
    )
    maps = [torch.empty(1, 1, side, side) for side in sides]
    (expected,) = theirs(ImageList(torch.empty(1, 3, 300, 300), [(300, 300)]), maps)
    ours = default_boxes(default_shapes(scales), [(side, side) for side in sides], (300, 300))
    assert len(ours) == 8732
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_ssd_of_300_px_has_the_papers_maps() -> None:
    with torch.device("meta"):
        said = build_model("ssd300", num_classes=20, image_size=300)(torch.empty(1, 3, 300, 300))
    assert said.scores.shape == (1, 8732, 21)
    assert said.offsets.shape == (1, 8732, 4)


@pytest.mark.parametrize("size", [128, 150, 200])
def test_ssd_covers_images_of_other_sizes(size: int) -> None:
    priors = small("ssd300", image_size=size)(images(1, size)).priors
    inside = (priors[:, :2] + priors[:, 2:]) / 2
    assert (priors[:, 2:] > priors[:, :2]).all()
    assert inside.min() > 0
    assert (inside < size + 32).all()
    assert (priors[-4:, 2:] - priors[-4:, :2]).min() > 0.5 * size


@pytest.mark.parametrize("size", [256, 200])
def test_anchors_are_torchvisions(size: int) -> None:
    said = small("retinanet", image_size=size)(images(1, size))
    sizes = tuple((s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))) for s in (32, 64, 128, 256, 512))
    theirs = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    sides, strides = [-(-size // s) for s in (8, 16, 32, 64, 128)], [8, 16, 32, 64, 128]
    expected: Any = theirs.grid_anchors([[s, s] for s in sides], [[torch.tensor(s)] * 2 for s in strides])
    torch.testing.assert_close(said.priors, torch.cat(expected))
    if size == 256:
        maps = [torch.empty(1, 1, side, side) for side in sides]
        torch.testing.assert_close(said.priors, theirs(ImageList(images(1, size), [(size, size)]), maps)[0])


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("rescue", ["none", "one", "ties"])
def test_assignment_is_torchvisions(seed: int, rescue: Any) -> None:
    low, high = (0.5, 0.5) if rescue == "one" else (0.3, 0.6)
    priors = rows(300, seed + 100).round()[:, :4]
    image = rows(8, seed)
    image[:3] = image[:3].round()
    image[0, :4] = priors[7]
    priors[8] = priors[7]  # a tie
    theirs = SSDMatcher(0.5) if rescue == "one" else Matcher(high, low, allow_low_quality_matches=rescue == "ties")
    expected = theirs(box_iou(image[:, :4], priors))
    # Rows without an object go anywhere, whatever else is in them.
    holes = torch.tensor([[0, 0, 128, 128, -1, 0], [5, 5, 90, 90, -1, 1]], dtype=torch.float32)
    found = match_anchors(
        priors, torch.cat((holes[:1], image[:4], holes[1:], image[4:]))[None], low=low, high=high, rescue=rescue
    )
    assert torch.equal(found.positive[0], expected >= 0)
    assert torch.equal(found.negative[0], expected == -1)
    where = expected >= 0
    assert where.any()
    assert torch.equal(found.boxes[0, where], image[expected[where], :4])
    assert torch.equal(found.classes[0, where], image[expected[where], 4].long())
    assert torch.equal(found.boxes[0, ~where], priors[~where])


@pytest.mark.parametrize("rescue", ["none", "one", "ties"])
def test_nobody_is_assigned_a_difficult_object(rescue: Any) -> None:
    priors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 9], [90, 90, 99, 99]])
    labels = torch.tensor([[[0.0, 0, 10, 10, 1, 1], [50, 50, 60, 60, 2, 0]]])
    found = match_anchors(priors, labels, low=0.5, high=0.5, rescue=rescue)
    assert found.positive.tolist() == [[False, True, False, False]]
    assert found.negative.tolist() == [[False, False, False, True]]
    labels[0, 1] = torch.tensor([1.0, 0, 10, 10, 2, 0])  # an object that is not difficult, as near
    assert match_anchors(priors, labels, low=0.5, high=0.5, rescue=rescue).classes.tolist() == [[2, -1, 2, -1]]


def said_of(priors: Tensor, count: int, scores: int, seed: int = 0) -> HeadOutputs:
    generator = torch.Generator().manual_seed(seed)
    return HeadOutputs(
        torch.randn(count, len(priors), 4, generator=generator).requires_grad_(),
        (2 * torch.randn(count, len(priors), scores, generator=generator)).requires_grad_(),
        priors,
    )


def test_what_ssd_learns_is_torchvisions() -> None:
    net = small("ssd300")
    said = said_of(net(images(1)).priors, 3, 4)
    of_image = [rows(5), rows(0), rows(2, 1)]
    box, classes, objectness = learnt(net.match_targets(said, pad_labels(of_image)))
    theirs: Any = SimpleNamespace(box_coder=detection._utils.BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3.0)
    matcher = SSDMatcher(0.5)
    expected = detection.ssd.SSD.compute_loss(
        theirs,
        targets(*of_image),
        {"bbox_regression": said.offsets, "cls_logits": background_first(said.scores)},
        [said.priors] * 3,
        [
            matcher(box_iou(image[:, :4], said.priors)) if len(image) else torch.full((len(said.priors),), -1)
            for image in of_image
        ],
    )
    torch.testing.assert_close(box, expected["bbox_regression"])
    torch.testing.assert_close(classes, expected["classification"])
    assert objectness == 0


@pytest.mark.parametrize("exclusive", [True, False])
def test_ssd_learns_from_the_hardest_background(exclusive: bool) -> None:
    net = small("ssd300", softmax_classes=exclusive)
    said = said_of(net(images(1)).priors, 2, 4 if exclusive else 3)
    (stage,) = net.match_targets(said, pad_labels([rows(3), rows(0)]))
    weights, positive = stage.class_weights.view(2, -1), stage.box_weights.view(2, -1)
    assert weights[0].sum() == 4 * positive[0].sum() > 0
    assert weights[1].sum() == 0
    background = said.scores.softmax(-1)[0, :, -1] if exclusive else (1 - said.scores.sigmoid()).prod(-1)[0]
    negative = stage.classes.view(2, -1)[0] == 3
    kept = negative & (weights[0] > 0)
    assert background[kept].max() <= background[negative & ~kept].min()
    (stage,) = small("ssd300", softmax_classes=exclusive, negatives=None).match_targets(
        said, pad_labels([rows(3), rows(0)])
    )
    assert stage.class_weights.all()


@pytest.mark.parametrize("image", [rows(6), rows(1, 3), rows(0)])
def test_what_retinanet_learns_is_torchvisions(image: Tensor) -> None:
    net = small("retinanet")
    said = said_of(net(images(1)).priors, 1, 3)
    box, classes, _ = learnt(net.match_targets(said, pad_labels([image])), softmax_classes=False)
    head = detection.retinanet.RetinaNetHead(8, 9, 3)
    head.regression_head._loss_type = "smooth_l1"
    theirs: Any = SimpleNamespace(proposal_matcher=Matcher(0.5, 0.4, allow_low_quality_matches=True), head=head)
    outputs = {"bbox_regression": said.offsets, "cls_logits": said.scores}
    expected = detection.RetinaNet.compute_loss(theirs, targets(image, first_class=0), outputs, [said.priors])
    torch.testing.assert_close(box, expected["bbox_regression"])
    torch.testing.assert_close(classes, expected["classification"])


def test_retinanet_is_torchvisions() -> None:
    trunk = backbone_utils._resnet_fpn_extractor(
        resnet18(), 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    theirs = detection.RetinaNet(trunk, 3).eval()
    ours = build_model("retinanet", num_classes=3, image_size=128, backbone="resnet18").eval()
    copy_pyramid(ours, trunk)
    blocks = trunk.fpn.extra_blocks
    head: Any = theirs.head
    for to, given in [
        *((ours.p6.conv, blocks.p6), (ours.p7.conv, blocks.p7)),
        *((ours.offset_tower, head.regression_head.conv), (ours.offsets, head.regression_head.bbox_reg)),
        *((ours.score_tower, head.classification_head.conv), (ours.head, head.classification_head.cls_logits)),
    ]:
        copy(to, given)
    with torch.no_grad():
        maps = list(trunk(images()).values())
        expected, said = head(maps), ours(images())
    torch.testing.assert_close(said.offsets, expected["bbox_regression"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(said.scores, expected["cls_logits"], rtol=1e-4, atol=1e-5)
    boxes, scores = ours.candidates(said)
    torch.testing.assert_close(boxes[0], theirs.box_coder.decode_single(expected["bbox_regression"][0], said.priors))
    torch.testing.assert_close(scores, expected["cls_logits"].sigmoid(), rtol=1e-4, atol=1e-5)


def copy_pyramid(ours: Any, trunk: Any) -> None:
    copy(ours.backbone, trunk.body)
    copy(ours.neck.laterals, trunk.fpn.inner_blocks)
    copy(ours.neck.convs, trunk.fpn.layer_blocks)


def their_faster_rcnn(hidden: int) -> Any:
    trunk = backbone_utils._resnet_fpn_extractor(resnet18(), 5)
    return detection.FasterRCNN(
        trunk,
        box_head=detection.faster_rcnn.TwoMLPHead(256 * 49, hidden),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(hidden, 4),
        rpn_pre_nms_top_n_train=100,
        rpn_post_nms_top_n_train=100,
        rpn_pre_nms_top_n_test=50,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=32,
    )


def copy_faster_rcnn(ours: Any, theirs: Any) -> None:
    copy_pyramid(ours, theirs.backbone)
    proposing, predictor = theirs.rpn.head, theirs.roi_heads.box_predictor
    copy(ours.proposer.answers.conv, proposing.conv)
    copy(ours.proposer.answers.objectness, proposing.cls_logits)
    copy(ours.proposer.answers.offsets, proposing.bbox_pred)
    copy(ours.roi.hidden, theirs.roi_heads.box_head)
    with torch.no_grad():
        for layer, given, each in (("scores", predictor.cls_score, 1), ("offsets", predictor.bbox_pred, 4)):
            ours.roi.head[layer].weight.copy_(given.weight.roll(-each, 0))
            ours.roi.head[layer].bias.copy_(given.bias.roll(-each, 0))


def test_faster_rcnn_is_torchvisions() -> None:
    theirs = their_faster_rcnn(64)
    nn.init.normal_(theirs.roi_heads.box_predictor.bbox_pred.weight, std=0.05)
    settings = {"num_classes": 3, "image_size": 128, "hidden": (64, 64), "proposals": 50, "rois": 32}
    ours = build_model("faster_rcnn", backbone="resnet18", **settings)
    copy_faster_rcnn(ours, theirs)
    pictures, of_image = images(), [rows(4), rows(2, 1)]
    as_list, target_list = ImageList(pictures, [(128, 128)] * 2), targets(*of_image)

    for module in [*ours.train().modules(), *theirs.train().modules()]:
        module.train("running_mean" not in module._buffers)
    torch.manual_seed(5)
    box, classes, objectness = learnt(ours.match_targets(ours(pictures), pad_labels(of_image)), beta=1 / 9)
    torch.manual_seed(5)
    maps = theirs.backbone(pictures)
    proposals, first = theirs.rpn(as_list, maps, target_list)
    _, second = theirs.roi_heads(maps, proposals, as_list.image_sizes, target_list)
    torch.testing.assert_close(objectness, first["loss_objectness"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(box, first["loss_rpn_box_reg"] + second["loss_box_reg"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(classes, second["loss_classifier"], rtol=1e-4, atol=1e-5)

    with torch.no_grad():
        ours.eval(), theirs.eval()
        raw = ours(pictures)
        boxes, scores = ours.candidates(raw)
        maps = theirs.backbone(pictures)
        proposals, _ = theirs.rpn(as_list, maps)
        heads = theirs.roi_heads
        logits, offsets = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, as_list.image_sizes)))
        expected = heads.box_coder.decode(offsets, proposals)[:, 1:].split([len(p) for p in proposals])
        likely = logits.softmax(-1)[:, 1:].split([len(p) for p in proposals])
    for image, given in enumerate(proposals):
        count = len(given)
        torch.testing.assert_close(raw.proposed.boxes[image, :count], given, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(boxes[image, :count], expected[image], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(scores[image, :count], likely[image], rtol=1e-4, atol=1e-5)
        assert not scores[image, count:].any()


def unequal_objects() -> Tensor:
    """Of three images: several objects and a hole, one that is difficult, none."""
    difficult = rows(1, 2)
    difficult[:, 5] = 1
    hole = torch.tensor([[3.0, 4, 100, 90, -1, 1]])
    return pad_labels([torch.cat((rows(2), hole, rows(2, 1))), difficult, rows(0)])


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_matches_and_candidates(name: str, exclusive: bool) -> None:
    net = small(name, softmax_classes=exclusive)
    labels = unequal_objects()
    raw = net(images(3))
    for stage in net.match_targets(raw, labels):
        assert len(stage.boxes) == len(stage.box_targets) == len(stage.offsets) == len(stage.box_weights)
        assert stage.scores is not None or stage.objectness is not None
        if stage.scores is not None:
            assert len(stage.scores) == len(stage.classes) == len(stage.class_weights)
            assert 0 <= stage.classes.min() <= stage.classes.max() == 3
            assert stage.scores.shape[1] == 3 + exclusive
        if stage.objectness is not None:
            assert len(stage.objectness) == len(stage.objectness_targets) == len(stage.objectness_weights)
        assert all(values.isfinite().all() for values in stage if values is not None)
        assert stage.matched >= 1
        # The offsets of a box are what its decoded corners say.
        expected, boxes = stage.box_targets[stage.box_weights > 0], stage.boxes[stage.box_weights > 0]
        assert len(expected)
        assert any(torch.equal(box, row[:4]) for box in expected for row in labels[0])
        near = (stage.offsets - stage.offset_targets).abs().sum(1)[stage.box_weights > 0]
        assert ((boxes - expected).abs().sum(1) > 1e-4)[near > 1e-4].all()
    with torch.no_grad():
        boxes, scores = net.eval().candidates(net(images(3)))
    assert scores.shape[::2] == (3, 3)
    assert boxes.shape in ((*scores.shape[:2], 4), (*scores.shape, 4))
    assert boxes.isfinite().all()
    assert 0 <= scores.min() <= scores.max() <= 1


@pytest.mark.parametrize("box_loss", ["smooth_l1", "ciou"])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str, box_loss: str) -> None:
    net = small(name)
    # A square for each of SSD's maps: centre and side.
    squares = torch.tensor([[36.0, 9], [40, 20], [48, 42], [32, 64], [64, 88], [64, 112]])
    low, high = squares[:, :1] - squares[:, 1:] / 2, squares[:, :1] + squares[:, 1:] / 2
    image = torch.cat((low, low, high, high - 2, torch.ones(6, 1), torch.zeros(6, 1)), 1)
    sum(learnt(net.match_targets(net(images()), torch.stack((image, image))), box_loss, net.softmax_classes)).backward()
    still = {path for path, p in net.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert not still
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_images_without_objects(name: str) -> None:
    net = small(name)
    stages = net.match_targets(net(images()), pad_labels([rows(0)] * 2))
    box, classes, objectness = learnt(stages, softmax_classes=net.softmax_classes)
    assert box == 0
    assert classes.isfinite() and objectness.isfinite()
    assert all((s.classes[s.class_weights > 0] == 3).all() for s in stages if s.classes is not None)


@pytest.mark.parametrize("name", NAMES)
def test_difficult_objects_are_neither_taught_nor_background(name: str) -> None:
    net, image = small(name), rows(3)
    easy, hard = image.clone(), image.clone()
    hard[:, 5] = 1
    raw = net(images(1))
    torch.manual_seed(0)
    with_objects = net.match_targets(raw, easy[None])
    torch.manual_seed(0)
    ignored = net.match_targets(raw, hard[None])
    assert all(stage.box_weights.sum() > 0 for stage in with_objects)
    assert all(stage.box_weights.sum() == 0 for stage in ignored)
    if name != "faster_rcnn":  # there other rows are drawn
        taught = with_objects[0].class_weights[with_objects[0].classes < 3]
        assert len(taught)
        overlapping = box_iou(image[:, :4], raw.priors).amax(0) >= 0.5
        assert overlapping.any()
        assert not ignored[0].class_weights[overlapping].any()


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_objects_does_not_matter(name: str) -> None:
    net, image = small(name), rows(4, 7)
    raw = net(images(1))
    terms = []
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        torch.manual_seed(0)
        terms.append(
            torch.stack(learnt(net.match_targets(raw, image[order][None]), softmax_classes=net.softmax_classes))
        )
    if name == "faster_rcnn":  # which of the objects themselves are drawn as proposals depends on their places
        terms = [term[2:] for term in terms]
    torch.testing.assert_close(*terms)


@pytest.mark.parametrize("name", NAMES)
def test_other_sizes_than_those_it_was_built_for(name: str) -> None:
    net = small(name, image_size=160)
    for size in (128, 192):
        raw = net(images(2, size))
        assert (
            torch.stack(learnt(net.match_targets(raw, pad_labels([rows(3)] * 2)), softmax_classes=net.softmax_classes))
            .isfinite()
            .all()
        )
    wide = torch.randn(1, 3, 128, 192)
    boxes, scores = net.eval().candidates(net(wide))
    assert boxes.shape[:2] == scores.shape[:2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("neck", NECKS.names())
def test_every_neck(name: str, neck: str) -> None:
    settings = {"hidden": (16, 16), "drop_rate": 0.1} if name == "faster_rcnn" else {}
    net = small(name, neck={"name": neck, "width": 16}, **settings)
    sum(
        learnt(net.match_targets(net(images()), pad_labels([rows(3)] * 2)), softmax_classes=net.softmax_classes)
    ).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", [{"norm": "gn"}, {"act": "mish"}, {"attention": "se"}, {"conv": "depthwise"}])
def test_parts_reach_the_head(name: str, part: dict[str, str]) -> None:
    settings = {"head_norm": True} if name == "retinanet" else {}
    elsewhere = ("backbone.",) if name == "faster_rcnn" and "norm" in part else ("backbone.", "neck.")

    def layers(trains: bool, /, **choices: Any) -> set[str]:
        net = small(name, neck={"name": "fpn", "width": 16}, **settings, **choices)
        if trains:
            stages = net.match_targets(net(images()), pad_labels([rows(3)] * 2))
            assert torch.stack(learnt(stages, softmax_classes=net.softmax_classes)).isfinite().all()
        own = {path: module for path, module in net.named_modules() if not path.startswith(elsewhere)}
        return {f"{path} {module}" for path, module in own.items() if not list(module.children())}

    assert layers(True, **part) - layers(False)


@pytest.mark.parametrize("exclusive", [True, False])
def test_retinanet_starts_with_few_objects(exclusive: bool) -> None:
    net = small("retinanet", softmax_classes=exclusive, prior=0.02)
    nn.init.zeros_(net.head.weight)
    _, scores = net.candidates(net(images(1)))
    likely = scores.sum(-1) if exclusive else scores
    torch.testing.assert_close(likely, torch.full_like(likely, 0.02))


def test_faster_rcnn_of_the_paper() -> None:
    """One map at stride 16, RoI pooling, and hidden layers that drop."""
    net = small("faster_rcnn", neck="none", hidden=None, backbone={"name": "vgg11", "width": 4}, norm="none")
    raw = net(images())
    (level,) = raw.features
    assert level.shape == (2, 32, 8, 8)
    assert raw.proposed.anchors.shape == (8 * 8 * 9, 4)
    assert "RoIPool" in repr(net.roi)
    assert [layer.out_features for layer in net.roi.hidden.modules() if isinstance(layer, nn.Linear)] == [4096, 4096]
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    sides = (raw.proposed.anchors[:, 2:] - raw.proposed.anchors[:, :2]).prod(1).sqrt()
    assert sides.max() == pytest.approx(512 * 128 / 600, rel=0.02)


def test_the_cost_of_faster_rcnn_counts_what_is_inside_boxes() -> None:
    def cost(rois: int) -> int:
        with torch.device("meta"):
            net = small("faster_rcnn", rois=rois)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                net(torch.empty(2, 3, 128, 128))
        return counter.get_total_flops() // 2 // 2

    assert cost(20) - cost(10) == 10 * (16 * 49 * 32 + 32 * 4 + 32 * 16)


def test_ssd_normalises_its_finest_map() -> None:
    net = small("ssd300")
    maps = torch.randn(1, len(net.rescale.scale), 4, 4)
    torch.testing.assert_close(net.rescale(maps).norm(dim=1), torch.full((1, 4, 4), 20.0))
    torch.testing.assert_close(net.rescale(100 * maps), net.rescale(maps))


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("ssd300", {"scales": (0.1, 0.2)}, "model.scales takes 7 numbers"),
        ("ssd300", {"width": 20}, "model.width=20 must be a multiple of 8"),
        ("retinanet", {"low": 0.6}, r"model.low=0.6 must be at most model.high=0.5"),
        ("faster_rcnn", {"anchors": (32.0,)}, "model.anchors takes 5 sides"),
        ("faster_rcnn", {"anchors": (), "neck": "none"}, "at least one side"),
        ("faster_rcnn", {"roi": "pool"}, "model.roi=pool takes one feature map"),
    ],
)
def test_bad_settings(name: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(name, **wrong)
