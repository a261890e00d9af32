"""Networks that segment no better than chance: one class everywhere, and masks that do not depend on the image."""

from __future__ import annotations

import torch
from torch import Tensor

from dlzoo.tasks.segmentation.chance import Agreement
from dlzoo.tasks.segmentation.metrics import SegmentationEvaluation, confusion_of_images


def scenes(images: int, seed: int, classes: int = 3) -> Tensor:
    """Masks (n, 12, 12): a square of a class on the background, 0."""
    draw = torch.Generator().manual_seed(seed)
    masks = torch.zeros(images, 12, 12, dtype=torch.uint8)
    for mask in masks:
        x, y, side = (int(torch.randint(low, high, (), generator=draw)) for low, high in ((0, 8), (0, 8), (2, 5)))
        mask[y : y + side, x : x + side] = int(torch.randint(1, classes, (), generator=draw))
    return masks


def is_chance(predicted: Tensor, masks: Tensor, classes: int = 3) -> bool:
    agreement, others = Agreement(), Agreement()
    agreement.update(confusion_of_images(predicted.long(), masks, classes))
    for each in (slice(5), slice(5, None)):
        part = Agreement()
        part.update(confusion_of_images(predicted[each].long(), masks[each], classes))
        others.merge(part.cpu())
    assert agreement.is_chance() == others.is_chance()
    return agreement.is_chance()


def test_a_class_everywhere_is_chance_and_some_pixels_of_a_rare_class_are_not() -> None:
    masks = scenes(40, seed=0)
    assert all(is_chance(torch.full_like(masks, label), masks) for label in range(3))
    found = torch.zeros_like(masks)
    found[:, :, :6] = 1  # wrong in half of the image ...
    found[masks == 2] = 2  # ... but every pixel of a rare class is found
    accuracy, background = float((found == masks).float().mean()), float((masks == 0).float().mean())
    assert accuracy < background and not is_chance(found, masks)
    assert not is_chance(masks, masks)


def test_masks_of_other_images_are_chance_in_most_cases() -> None:
    masks = scenes(60, seed=1)
    above = sum(not is_chance(scenes(60, seed=seed), masks) for seed in range(2, 82))
    assert above <= 6  # 2 are expected of 80 at 2.5 %; more than 6 have a probability below 0.005


def test_nobody_can_tell_of_one_image_or_of_one_class() -> None:
    masks = scenes(10, seed=0)
    assert not is_chance(masks[:1], masks[:1])
    assert not is_chance(masks, torch.zeros_like(masks))
    ignored = torch.full_like(masks, 255)
    assert not is_chance(masks, ignored)


def test_the_evaluation_says_why() -> None:
    masks = scenes(12, seed=0)
    for predicted, words in ((torch.zeros_like(masks), "one class for all pixels of 12"), (masks, None)):
        evaluation = SegmentationEvaluation(torch.nn.CrossEntropyLoss(ignore_index=255), 3)
        logits = torch.nn.functional.one_hot(predicted.long(), 3).permute(0, 3, 1, 2).float()
        evaluation.update(logits, masks.long(), [(12, 12)] * 12, range(12))
        evaluation.count = 12
        reason = evaluation.learned_nothing()
        assert (reason is None) == (words is None) and (words or "") in (reason or "")
