"""Names to callables: every technique of the zoo is an entry of one of the registries at the end of this file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

from dlzoo.errors import UserError, did_you_mean, first_line
from dlzoo.knobs import check, knobs_of, unwrapped, wiring_of

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One technique: its builder, where it comes from, and what its registration adds (norm="bn" of a model)."""

    choice: str
    name: str
    builder: Callable[..., Any]
    source: str
    meta: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def knobs(self) -> dict[str, dict[str, Any]]:
        return knobs_of(self.builder)

    @property
    def doc(self) -> str:
        """The docstring of the builder, or of the function under a partial."""
        return inspect.getdoc(unwrapped(self.builder)) or ""

    @cached_property
    def wiring(self) -> list[str]:
        return wiring_of(self.builder)

    def build(self, /, *, wiring: dict[str, Any] | None = None, **knobs: Any) -> Any:
        """Call the builder with `knobs` and with as much of `wiring` as it takes.

        While wiring is missing, what comes back is the builder waiting for it: a norm waits for its channels, an
        optimizer for its parameters.

        Raises:
            UserError: for a knob that the entry does not have, or a value of the wrong type or range.
        """
        where = f"{self.choice}={self.name}"
        given = {name: value for name, value in (wiring or {}).items() if name in self.wiring}
        for name, value in knobs.items():
            if name in self.wiring:
                given[name] = value
            elif name not in self.knobs:
                raise UserError(f"{where} has no knob {name!r}; {did_you_mean(name, self.knobs)}")
            else:
                try:
                    given[name] = check(self.knobs[name], value)
                except ValueError as error:
                    raise UserError(f"{where}: {name} {error}") from None
        waiting = partial(self.builder, **given)
        return waiting() if set(self.wiring) <= set(given) else waiting


class Registry:
    """Entries of one kind. The modules of `package` (and of plug-ins) are imported at the first look-up.

    Args:
        choice: the word that a user types, as in `norm=gn`; also the entry-point group `dlzoo.<choice>`.
        package: the package whose modules register the entries.
        contract: what an entry returns.
        common: "module:class" of a dataclass with settings that go with every entry, as `data.batch_size` does.
        fallback: what `<choice>=default` means where the registration of a model or a data set does not say.
        neutral: the part that a model gets whose registration does not offer the choice.
    """

    def __init__(
        self,
        choice: str,
        package: str,
        contract: str,
        *,
        common: str | None = None,
        fallback: str | None = None,
        neutral: str | None = None,
    ) -> None:
        self.choice, self.package, self.contract, self.common = choice, package, contract, common
        self.fallback, self.neutral = fallback, neutral
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(self, name: str, *, source: str, **meta: Any) -> Callable[[Builder], Builder]:
        """Decorator: add a builder under `name`. `source` is the paper and its section or equation.

        Raises:
            ValueError: if the name is taken.
        """

        def add(builder: Builder) -> Builder:
            if name in self._entries:
                taken = self._entries[name].builder
                raise ValueError(f"{self.choice}={name} is registered already, by {taken.__module__}")
            self._entries[name] = Entry(self.choice, name, builder, source, meta)
            return builder

        return add

    def names(self) -> list[str]:
        self._load()
        return sorted(self._entries)

    def __getitem__(self, name: str) -> Entry:
        """The entry called `name`.

        Raises:
            UserError: for an unknown name, with the closest ones.
        """
        self._load()
        if name not in self._entries:
            raise UserError(f"unknown {self.choice} {name!r}; {did_you_mean(str(name), self._entries)}")
        return self._entries[name]

    def build(self, name: str, *, wiring: dict[str, Any] | None = None, **knobs: Any) -> Any:
        """`registry[name].build(...)`."""
        return self[name].build(wiring=wiring, **knobs)

    def from_section(self, section: Mapping[str, Any], **wiring: Any) -> tuple[Any, Any]:
        """(the settings common to the choice, what the entry builds) of a section of a config.

        Raises:
            UserError: as `Entry.build`.
        """
        knobs = dict(section)
        entry, common, settings = self[knobs.pop("name")], self.common_settings(), None
        if common is not None:
            given = {}
            for name, schema in knobs_of(common).items():
                if name in knobs:
                    try:
                        given[name] = check(schema, knobs.pop(name))
                    except ValueError as error:
                        raise UserError(f"{self.choice}={section['name']}: {name} {error}") from None
            settings = common(**given)
        return settings, entry.build(wiring=wiring, **knobs)

    def common_settings(self) -> Callable[..., Any] | None:
        """The class of the settings that every entry shares, if there is one."""
        if self.common is None:
            return None
        module, _, name = self.common.partition(":")
        return getattr(importlib.import_module(module), name)

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__, f"{self.package}."):
            importlib.import_module(module.name)
        for point in entry_points(group=f"dlzoo.{self.choice}"):
            try:
                point.load()
            except Exception as error:
                # A broken plug-in must not take the zoo down with it.
                print(f"dlzoo: plug-in {point.value} was left out: {first_line(error)}", file=sys.stderr)
        self._loaded = True


class Selection(Registry):
    """Entries of another registry under a word of their own: box_loss=ciou names a loss, backbone=resnet18 a model.

    Args:
        of: whose entries they are.
        admits: what the registration adds -> whether the entry is one of them.
    """

    def __init__(
        self,
        choice: str,
        of: Registry,
        contract: str,
        *,
        admits: Callable[[dict[str, Any]], bool],
        common: str | None = None,
    ) -> None:
        super().__init__(choice, of.package, contract, common=common)
        self._of, self._admits = of, admits

    def _load(self) -> None:
        if not self._loaded:
            every = (self._of[name] for name in self._of.names())
            self._entries = {
                entry.name: replace(entry, choice=self.choice) for entry in every if self._admits(entry.meta)
            }
            self._loaded = True


MODELS = Registry(
    "model",
    "dlzoo.models",
    "an nn.Module: images (N, C, H, W) -> logits (N, num_classes), in training also a layers.head.WithAuxiliary;"
    " or, where its registration names a backbone, a models.detector.Detector",
    common="dlzoo.models.settings:ModelSettings",
    fallback="resnet20",
)
NORMS = Registry("norm", "dlzoo.layers", "waits for channels, then an nn.Module: (N, C, H, W) -> the same shape")
ACTS = Registry("act", "dlzoo.layers", "an nn.Module: any shape -> the same shape")
CONVS = Registry(
    "conv",
    "dlzoo.layers",
    "waits for in_channels, out_channels, kernel_size, stride, bias and valid, then an nn.Module:"
    " (N, in, H, W) -> (N, out, ceil(H / stride), ceil(W / stride))",
    common="dlzoo.layers.conv_kinds:ConvSettings",
    neutral="standard",
)
ATTENTIONS = Registry(
    "attention", "dlzoo.layers", "waits for channels, then an nn.Module: (N, C, H, W) -> the same shape", neutral="none"
)
POOLS = Registry(
    "pool",
    "dlzoo.layers",
    "waits for channels, window and parts, then an nn.Module that makes maps smaller",
    neutral="max",
)
DROPS = Registry(
    "drop",
    "dlzoo.layers",
    "an nn.Module: any shape -> the same shape, in evaluation the same values",
    common="dlzoo.layers.drop:DropSettings",
    neutral="none",
)
HEADS = Registry(
    "head",
    "dlzoo.layers",
    "waits for channels, size and parts, then an nn.Module: (N, C, H, W) -> (N, out_features)",
    neutral="gap",
)
UPSAMPLES = Registry(
    "upsample",
    "dlzoo.layers",
    "waits for channels and factor, then an nn.Module: (N, C, H, W) -> (N, C, factor * H, factor * W)",
    neutral="nearest",
)
NECKS = Registry(
    "neck",
    "dlzoo.layers",
    "waits for channels, parts and settings, then an nn.Module with `out_channels`: maps, fine to coarse, each half as"
    " large as the one before -> as many maps of the same sizes",
    common="dlzoo.layers.neck:NeckSettings",
    neutral="none",
)
INITS = Registry(
    "init",
    "dlzoo.layers",
    "waits for a weight tensor and fills it in place",
    common="dlzoo.layers.init:InitSettings",
    fallback="torch",
)
LOSSES = Registry(
    "loss",
    "dlzoo.losses",
    "an nn.Module: (input, target) -> a scalar, the batch's mean; its registration says for what `kinds` of targets",
    fallback="cross_entropy",
)
BOX_LOSSES = Selection(
    "box_loss",
    LOSSES,
    "a loss with `each`: (boxes (R, 4), targets (R, 4)) -> (R,), of boxes in pixels or, as a distance, of offsets",
    admits=lambda meta: bool({"boxes", "offsets"} & set(meta.get("kinds", ()))),
    common="dlzoo.losses.boxes:BoxLossSettings",
)
BACKBONES = Selection(
    "backbone",
    MODELS,
    "a classifier whose feature maps a detector looks at: a models.feature_maps.FeatureNetwork, or any nn.Module whose"
    " feature maps are the outputs of its blocks",
    # Convolutional: it has a head, or what it has is its own (timm, torchvision).
    admits=lambda meta: "backbone" not in meta and ("head" in meta or meta.get("norm") == "default"),
    common="dlzoo.models.settings:ModelSettings",
)
NMS = Registry(
    "nms",
    "dlzoo.boxes",
    "a function: boxes (N, A, 4), scores (N, A), classes (N, A) -> scores (N, A), those of suppressed boxes 0",
    common="dlzoo.boxes.nms:NmsSettings",
)
OPTIMIZERS = Registry(
    "optimizer",
    "dlzoo.optim",
    "waits for params, then a torch Optimizer",
    common="dlzoo.optim.settings:OptimizerSettings",
)
SCHEDULES = Registry(
    "schedule",
    "dlzoo.optim",
    "waits for the run's span, then step -> factor of the rate; one that follows validation is an optim.Observer",
    common="dlzoo.optim.settings:Warmup",
)
DATASETS = Registry(
    "data",
    "dlzoo.data",
    "an ImageSet, a TableSet or a BoxSet: samples with classes, with numbers to predict, or with objects in them",
    common="dlzoo.data.settings:DataSettings",
)
AUGMENTS = Registry(
    "augment",
    "dlzoo.data",
    "(uint8 images (N, C, H, W), draw) -> uint8 images; one for images with boxes says so, and where it moves pixels"
    " has `boxed`",
    common="dlzoo.data.augment_settings:AugmentSettings",
    fallback="none",
)

REGISTRIES = {
    registry.choice: registry
    for registry in (
        *(MODELS, BACKBONES, NORMS, ACTS, CONVS, ATTENTIONS, POOLS, DROPS, HEADS, UPSAMPLES, NECKS, INITS),
        *(LOSSES, BOX_LOSSES, NMS, OPTIMIZERS, SCHEDULES, DATASETS, AUGMENTS),
    )
}

#: What models are made of: each kind is a method of layers.parts.Parts, and a choice that a model may offer.
PARTS = {
    registry.choice: registry for registry in (NORMS, ACTS, CONVS, ATTENTIONS, POOLS, DROPS, HEADS, UPSAMPLES, NECKS)
}
