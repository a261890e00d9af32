"""Plot losses, activations and schedules."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import nan
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from dlzoo.config import Config
from dlzoo.core import index
from dlzoo.core.errors import UserError, first_line
from dlzoo.core.registries import ACTS, LOSSES, OPTIMIZERS, SCHEDULES
from dlzoo.metrics.plots import GREY, TRAIN, VAL, style_axes
from dlzoo.optim.settings import Observer, Span

Function = Callable[[Tensor], Tensor]

#: Points of a curve, and the halvings of an interval after which a change that is still there is a jump.
_POINTS, _HALVINGS = 401, 24
_STEPS_PER_EPOCH = 100
_MOST_EPOCHS = 10_000
#: Kind of targets -> the loss that others are compared with.
_REFERENCE = {"classification": "cross_entropy", "regression": "mse", "boxes": "iou"}


def plot_loss(config: Config) -> Figure:
    """Plot a loss and its derivative, with a common loss of its kind for comparison.

    The x axis is the margin between the logits of the correct and the other class, the error of a number, or the
    distance between two equal boxes in widths.
    """
    section = config["loss"]
    kinds = index.marks("loss", section["name"]).targets
    linked = section.get("link") not in (None, "identity")  # a link is for classification only
    order = ("classification",) if linked else ("regression", "boxes", "classification")
    kind = next(kind for kind in order if kind in kinds)
    label, low, high, function_of = {
        "classification": ("margin: correct logit - other logit", -6.0, 6.0, _loss_of_margin),
        "regression": ("prediction - target", -3.0, 3.0, _loss_of_error),
        "boxes": ("distance between two equal boxes, in widths", 0.0, 3.0, _loss_of_distance),
    }[kind]
    _, loss = LOSSES.from_section(section)
    drawn = {title("loss", section): function_of(loss)}
    if _REFERENCE[kind] != section["name"]:
        drawn[_REFERENCE[kind]] = function_of(LOSSES.build(_REFERENCE[kind]))
    try:
        return _value_and_derivative(drawn, low, high, label, "loss")
    except (RuntimeError, ValueError) as error:  # such as weights for another number of classes
        raise UserError(f"loss={section['name']} cannot be plotted for two classes: {first_line(error)}") from error


def _loss_of_margin(loss: torch.nn.Module) -> Function:
    correct = torch.zeros(1, dtype=torch.int64)
    return lambda x: loss(torch.stack([x, -x]).double()[None] / 2, correct)


def _loss_of_error(loss: torch.nn.Module) -> Function:
    return lambda x: loss(x.double().view(1, 1), x.new_zeros(1, 1).double())


def _loss_of_distance(loss: torch.nn.Module) -> Function:
    box = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    across = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    return lambda x: loss((box + across * x)[None], box[None])


def plot_act(config: Config) -> Figure:
    """Plot an activation and its derivative, with ReLU for comparison."""
    section = config["act"]
    _, act = ACTS.from_section(section)
    drawn = {title("act", section): act.double().eval()}
    if section["name"] != "relu":
        drawn["relu"] = ACTS.build("relu")
    return _value_and_derivative(drawn, -8.0, 8.0, "x", "activation")  # relu6 has a corner at 6


def _value_and_derivative(drawn: dict[str, Function], low: float, high: float, label: str, what: str) -> Figure:
    """Draw two panels: values and derivatives. The first function is emphasised."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    xs = torch.linspace(low, high, _POINTS, dtype=torch.float64)
    curves = {name: _curve(function, xs) for name, function in drawn.items()}
    for place, (name, (values, slopes)) in reversed(list(enumerate(curves.items()))):
        style: dict[str, Any] = {"color": GREY, "lw": 1.2, "ls": "--"} if place else {"color": TRAIN, "lw": 2}
        for at, (axes, heights) in enumerate(zip(panels, (values, slopes), strict=True)):
            axes.plot(
                *_broken(lambda x, at=at, name=name: _evaluate(drawn[name], x)[at], xs, heights), label=name, **style
            )
    for axes, name in zip(panels, (what, "derivative"), strict=True):
        axes.set(title=name, xlabel=label)
        axes.axhline(0, color="black", lw=0.6)
        style_axes(axes)
    panels[0].legend(frameon=False)
    shown, _ = next(iter(curves.values()))
    top, bottom = float(shown.max()), float(shown.min())
    if top > 20:  # exponential: the rest would be a flat line
        panels[0].set_ylim(-0.5, 20)
        panels[1].set_ylim(-20, 0.5)
    elif top > bottom:
        panels[0].set_ylim(min(bottom, 0) - 0.05 * (top - bottom), top + 0.08 * (top - bottom))
    return figure


def _curve(function: Function, xs: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and derivatives at each of `xs`, computed one at a time: a loss would average over a batch."""
    values, slopes = zip(*(_evaluate(function, float(x)) for x in xs), strict=True)
    return torch.tensor(values, dtype=torch.float64), torch.tensor(slopes, dtype=torch.float64)


def _evaluate(function: Function, at: float) -> tuple[float, float]:
    """Return the value and the derivative at a point.

    Raises:
        ValueError: if the value is not finite.
    """
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    y = function(x).squeeze()
    if not y.isfinite():
        raise ValueError(f"it is {y.item()} at {at:g}")
    y.backward()
    return y.item(), 0.0 if x.grad is None else x.grad.item()


def _broken(height_at: Callable[[float], float], xs: Tensor, heights: Tensor) -> tuple[list[float], list[float]]:
    """Return the points of a line that is interrupted (NaN) where the function jumps, and does not cross the gap.

    A change between two neighbouring points is a jump if it does not shrink as the interval is halved repeatedly.
    """
    places, ys = xs.tolist(), heights.tolist()
    notable = 0.02 * (max(ys) - min(ys))
    across, along = [places[0]], [ys[0]]
    for (a, b), (low, high) in zip(pairwise(places), pairwise(ys), strict=True):
        if (change := abs(high - low)) > notable:
            left, right, under, over = a, b, low, high
            for _ in range(_HALVINGS):
                middle = (left + right) / 2
                between = height_at(middle)
                if abs(between - under) > abs(over - between):
                    right, over = middle, between
                else:
                    left, under = middle, between
            if abs(over - under) > change / 2:
                across += [left, (left + right) / 2, right]
                along += [under, nan, over]
        across.append(b)
        along.append(high)
    return across, along


def plot_schedule(config: Config) -> Figure:
    """Plot the learning rate over the steps of a run of trainer.max_epochs, with its warm-up.

    A schedule that follows the validation result is given one that improves for a third of the run, and then no more.
    """
    section, epochs = config["schedule"], config["trainer"]["max_epochs"]
    if epochs > _MOST_EPOCHS:
        raise UserError(f"trainer.max_epochs={epochs} is too long to plot; set at most {_MOST_EPOCHS}")
    span = Span(epochs * _STEPS_PER_EPOCH, _STEPS_PER_EPOCH)
    warmup, schedule = SCHEDULES.from_section(section, span=span)
    factor = warmup.before(schedule, span)
    optimizer, _ = OPTIMIZERS.from_section(config["optimizer"])
    batch, base = config["data"]["batch_size"], config["optimizer"]["lr"]
    if batch != "full":  # the size of a full batch is known only with the data
        base = optimizer.effective_lr(base, batch)
    rates = []
    for step in range(span.steps):
        rates.append(base * factor(step))
        if (step + 1) % _STEPS_PER_EPOCH == 0 and isinstance(factor, Observer):
            factor.observe(min(step / span.steps, 1 / 3))
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.plot([step / _STEPS_PER_EPOCH for step in range(span.steps)], rates, color=TRAIN, lw=2)
    if isinstance(factor, Observer):
        axes.axvline(epochs / 3, color=VAL, ls="--")
        axes.annotate("validation stops improving", (epochs / 3, 0.5), xycoords=("data", "axes fraction"), color=VAL,
                      rotation=90, ha="right", va="center")  # fmt: skip
    axes.set(title=title("schedule", section), xlabel="epoch", ylabel=f"learning rate of {config['optimizer']['name']}")
    axes.set_ylim(0, None)
    style_axes(axes)
    return figure


def title(choice: str, section: dict[str, Any]) -> str:
    """Return the name of an entry with the settings that are not defaults."""
    schemas = index.settings(choice, section["name"])
    changed = [f"{key}={value}" for key, value in section.items() if key != "name" and value != schemas[key]["default"]]
    return " ".join([section["name"], *changed])
