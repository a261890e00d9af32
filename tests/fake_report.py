"""Contents of reports as they might be, for the tests of who writes them. Equal calls give equal contents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from dlzoo.comparison.finding import Finding
from dlzoo.comparison.statistics import Effect, Interval
from dlzoo.report.content import Cell, ClassDifference, Comparison, Content, Curve, Factor, Metric, Unfinished

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOSTILE = r"<script>alert('&amp;')</script> $x_1$ 100% #1 ~a^b {c} \d | `e` *f* [g](h) " "ä 漢" ""


ACCURACY = Metric("test/accuracy", "test accuracy", higher_is_better=True)


def t_interval(numbers: Sequence[float] | np.ndarray) -> Interval | None:
    if len(numbers) < 2:
        return None
    mean, half = np.mean(numbers), stats.sem(numbers) * stats.t.ppf(0.975, len(numbers) - 1)
    return Interval(float(mean - half), float(mean + half))


def sign_flip(differences: np.ndarray) -> float | None:
    if len(differences) < 2:
        return None
    signs = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    return float(np.mean(sums >= abs(differences.sum()) - 1e-12))


def cell(
    levels: tuple[str, ...],
    is_baseline: bool,
    quality: float,
    seeds: int,
    size: float = 1.0,
    classes: Sequence[str] = CIFAR,
) -> Cell:
    draw = np.random.default_rng(abs(hash_of(levels)))
    values = {seed: float(round(quality + 0.008 * draw.normal(), 4)) for seed in range(seeds)}
    numbers = list(values.values())
    mean = float(np.mean(numbers))
    recalls = {name: float(np.clip(mean + 0.1 * draw.normal(), 0, 1)) for name in classes}
    return Cell(
        levels=levels,
        label=" ".join(levels),
        is_baseline=is_baseline,
        values=values,
        mean=mean,
        deviation=float(np.std(numbers, ddof=1)) if seeds > 1 else None,
        interval=t_interval(numbers),
        params=round(269_722 * size),
        macs=round(40_800_000 * size),
        images_per_second=1890.0 / size,
        seconds=97.5 * size,
        memory=1.15e9,
        curves={
            "val/accuracy": curve(np.linspace(1, 30, 30), lambda t: mean * (1 - np.exp(-t / 6)), seeds, draw),
            "train/loss": curve(np.arange(1, 121) / 4, lambda t: 0.2 + 2.2 * np.exp(-t * mean / 6), seeds, draw),
        },
        per_class=recalls,
    )


def hash_of(levels: tuple[str, ...]) -> int:
    return sum((place + 1) * ord(letter) for place, letter in enumerate("|".join(levels)))


def curve(epochs: np.ndarray, of: Callable[[np.ndarray], np.ndarray], seeds: int, draw: np.random.Generator) -> Curve:
    mean = of(epochs) + 0.01 * draw.normal(size=len(epochs))
    half = {1: None, 2: 0.4, 3: 0.2}.get(seeds, 0.02)
    low, high = ([] if half is None else (mean + sign * half).tolist() for sign in (-1, 1))
    single = [(mean + 0.02 * draw.normal()).tolist() for _ in range(seeds)] if 1 < seeds < 6 else []
    return Curve(epochs.tolist(), mean.tolist(), low, high, single)


def comparisons(factors: list[Factor], cells: list[Cell]) -> list[Comparison]:
    """Each cell against the one that has the baseline's level, and all else equal."""
    found = []
    by_levels = {each.levels: each for each in cells}
    for place, factor in enumerate(factors):
        for arm in cells if factor.compared else []:
            against = (*arm.levels[:place], f"{factor.key}={factor.baseline}", *arm.levels[place + 1 :])
            if against != arm.levels and against in by_levels:
                found.append(comparison(factor, place, arm, by_levels[against]))
    known = [each.effect.p for each in found if each.effect.p is not None]
    adjusted = iter(stats.false_discovery_control(known).tolist() if known else [])
    return [
        each if each.effect.p is None else replace(each, effect=replace(each.effect, adjusted=next(adjusted)))
        for each in found
    ]


def comparison(factor: Factor, place: int, arm: Cell, baseline: Cell) -> Comparison:
    shared = sorted(arm.values.keys() & baseline.values.keys())
    differences = np.array([arm.values[seed] - baseline.values[seed] for seed in shared])
    mean, interval, p = float(differences.mean()), t_interval(differences), sign_flip(differences)
    noise = None if arm.deviation is None else float(np.hypot(arm.deviation, baseline.deviation or 0) / np.sqrt(2))
    verdict = "undecided"
    if interval is not None and p is not None and interval.low * interval.high > 0 and p <= 0.05:
        verdict = "better" if mean > 0 else "worse"
    elif interval is not None and max(-interval.low, interval.high) < 0.01:
        verdict = "equivalent"
    return Comparison(
        factor=factor.key,
        level=arm.levels[place].removeprefix(f"{factor.key}="),
        against=str(factor.baseline),
        context=" ".join(arm.levels[:place] + arm.levels[place + 1 :]),
        label=arm.label,
        baseline=baseline.label,
        effect=Effect(
            difference=mean,
            interval=interval,
            p=p,
            adjusted=None,
            smallest_p=None if p is None else 2 / 2 ** len(shared),
            noise=noise,
            size=mean / noise if noise else None,
            seeds=len(shared),
            baseline_seeds=len(shared),
            paired=True,
            left_out=tuple(sorted(arm.values.keys() ^ baseline.values.keys())),
        ),
        verdict=verdict,
        seeds_needed=23 if verdict == "undecided" and p is not None else None,
        per_class=[
            ClassDifference(name, recall - baseline.per_class[name], Interval(
                recall - baseline.per_class[name] - 0.04, recall - baseline.per_class[name] + 0.04
            ) if p is not None else None)
            for name, recall in arm.per_class.items()
        ],
    )  # fmt: skip


def content(
    title: str, factors: list[Factor], cells: list[Cell], metric: Metric = ACCURACY, **changes: object
) -> Content:
    compared = comparisons(factors, cells)
    if not metric.higher_is_better:
        turned = {"better": "worse", "worse": "better"}
        compared = [replace(each, verdict=turned.get(each.verdict, each.verdict)) for each in compared]
    seeds = sorted({seed for each in cells for seed in each.values})
    runs = sum(len(each.values) for each in cells)
    made = Content(
        title=title,
        folder=f"outputs/{title}",
        question=f"Does {factors[0].key} matter?" if factors else None,
        expected="The paper says: only at small batches (arXiv:1803.08494, figure 4)." if factors else None,
        answer=[
            "Group normalisation is better than batch normalisation at a batch of 2 and 4, and worse at 16 and 32.",
            "At a batch of 2 the test accuracy is 0.2129 higher (95 % interval 0.2051 to 0.2207, p = 0.0078, 8 seeds).",
            "At a batch of 8 it is not decided.",
        ],
        metric=metric,
        factors=factors,
        seeds=seeds,
        cells=cells,
        comparisons=compared,
        power=[f"The smallest p-value that {len(seeds)} paired seeds can give is {2 / 2 ** len(seeds):.4f}."],
        margin=0.01,
        findings=[],
        others={
            "test/loss": {
                each.label: (2.1 - each.mean, Interval(2.09 - each.mean, 2.11 - each.mean)) for each in cells
            },
            "test/f1_macro": {each.label: (each.mean - 0.004, None) for each in cells},
        },
        unfinished=[],
        states={"finished": runs},
        settings={"model": "resnet20", "optimizer": "momentum", "trainer.max_epochs": "30"},
        environment={"torch": {"2.15.0+cpu": runs}, "device": {"CPU, 1 thread": runs}, "python": {"3.11.7": runs}},
        commands=["dlzoo compare norm=bn,gn data.batch_size=2,4,8,16,32 seeds=8", f"dlzoo report outputs/{title}"],
        written="2026-11-22T03:02:32+00:00",
    )
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


BATCHES: tuple[str, ...] = ("2", "4", "8", "16", "32")
BATCH = Factor("data.batch_size", BATCHES, numeric=True, compared=False, baseline=None, follows={
    "optimizer.effective_lr": {"2": "0.00625", "4": "0.0125", "8": "0.025", "16": "0.05", "32": "0.1"},
})  # fmt: skip
NORM = Factor("norm", ("bn", "gn"), numeric=False, compared=True, baseline="bn", follows={})
_BN: dict[str, float] = dict(zip(BATCHES, (0.34, 0.48, 0.566, 0.612, 0.634), strict=True))
_GN: dict[str, float] = dict(zip(BATCHES, (0.553, 0.561, 0.567, 0.574, 0.571), strict=True))


def norms(seeds: int = 8, batches: Sequence[str] = BATCHES, **changes: object) -> Content:
    cells = [
        cell((f"norm={norm}", f"data.batch_size={batch}"), norm == "bn", means[batch], seeds, 1 + 4 / int(batch))
        for batch in batches
        for norm, means in (("bn", _BN), ("gn", _GN))
    ]
    return replace(content("bn_vs_gn", [NORM, replace(BATCH, levels=tuple(batches))], cells), **changes)  # pyright: ignore[reportArgumentType]


def activations() -> Content:
    names = ("relu", "leaky_relu", "elu", "gelu", "swish", "mish", "sigmoid")
    factor = Factor("act", names, numeric=False, compared=True, baseline="relu", follows={"init": {"relu": "he"}})
    cells = [
        cell((f"act={name}",), name == "relu", 0.61 + 0.004 * place - 0.2 * (name == "sigmoid"), 8, 1 + place / 9)
        for place, name in enumerate(names)
    ]
    return content("activations", [factor], cells)


def one_seed() -> Content:
    return norms(
        seeds=1,
        batches=BATCHES[:3],
        margin=None,
        findings=[Finding("noise", "With one seed nothing is known of the noise.")],
    )


def alone() -> Content:
    """One setting, nothing to compare it with."""
    return content("resnet20", [], [replace(cell((), True, 0.71, 3), label="all runs")], margin=None)


def nothing_finished() -> Content:
    waiting = [Unfinished(f"norm=gn seed={seed}", "running", "") for seed in range(8)]
    return content("begun", [NORM], [], unfinished=waiting, states={"running": 8}, answer=["No run is finished yet."])


def running() -> Content:
    full = norms(batches=BATCHES[1:4])
    cells = [
        replace(each, values=dict(list(each.values.items())[: 8 - place % 3])) for place, each in enumerate(full.cells)
    ]
    cells = [
        replace(each, mean=float(np.mean(list(each.values.values()))), interval=t_interval(list(each.values.values())))
        for each in cells
    ]
    unfinished = [
        Unfinished("norm=gn data.batch_size=2 seed=3", "failed", "the loss is nan at step 120; lower optimizer.lr"),
        Unfinished("norm=bn data.batch_size=32 seed=7", "running", ""),
        Unfinished("outputs/bn_vs_gn/run_41", "damaged", "run.json cannot be read (Expecting value: line 1 column 1)"),
    ]  # fmt: skip
    findings = [
        Finding("budget", "The arms do not take the same number of steps: 8,000 to 500."),
        Finding("learning_rate", "data.batch_size varies, and the learning rate was not rescaled."),
    ]  # fmt: skip
    states = {"finished": 70, "failed": 1, "running": 1, "damaged": 1, "missing": 7}
    found = comparisons(full.factors, cells)
    return replace(full, cells=cells, comparisons=found, unfinished=unfinished, findings=findings, states=states)


def hostile() -> Content:
    bad = (HOSTILE, "x" * 300, "line\nbreak\x00 \\end{tabular} --> ]]>", "1. - # +")
    factor = Factor(
        f"key{HOSTILE}", bad, numeric=False, compared=True, baseline=HOSTILE, follows={HOSTILE: {HOSTILE: HOSTILE}}
    )
    cells = [cell((name,), name == HOSTILE, 0.6, 4, 1 + place, (HOSTILE, "w" * 200)) for place, name in enumerate(bad)]
    cells = [replace(each, label=f"key={each.levels[0]}") for each in cells]
    by_level = {each.levels[0]: each for each in cells}
    found = [comparison(factor, 0, by_level[name], by_level[HOSTILE]) for name in bad[1:]]
    return content(
        HOSTILE, [factor], cells,
        comparisons=[replace(each, verdict=each.verdict) for each in found],
        question=HOSTILE, expected=HOSTILE, answer=[HOSTILE, "y" * 400], power=[HOSTILE],
        findings=[Finding(HOSTILE, HOSTILE)],
        unfinished=[Unfinished(HOSTILE, "failed", HOSTILE * 3)],
        metric=Metric("test/accuracy", HOSTILE, higher_is_better=False),
        others={HOSTILE: {cells[0].label: (0.5, None)}},
        settings={HOSTILE: HOSTILE},
        environment={HOSTILE: {HOSTILE: 3, "z" * 200: 1}},
        commands=[f"dlzoo {HOSTILE}", "```", "dlzoo " + "v" * 300],
    )  # fmt: skip


def many_cells() -> Content:
    """Two compared factors and two others: no grid, more lines than a picture holds."""
    keys = (
        Factor("optimizer", ("momentum", "adam"), numeric=False, compared=True, baseline="momentum", follows={}),
        Factor("act", ("relu", "mish"), numeric=False, compared=True, baseline="relu", follows={}),
        Factor("optimizer.lr", ("0.001", "0.01", "0.1", "0.3", "1"), True, False, None, {}),
        Factor("data.batch_size", ("32", "128"), numeric=True, compared=False, baseline=None, follows={}),
    )  # fmt: skip
    cells = []
    for levels in itertools.product(*(key.levels for key in keys)):
        named = tuple(f"{key.key}={level}" for key, level in zip(keys, levels, strict=True))
        quality = 0.6 + 0.02 * ("adam" in levels) - 0.1 * abs(np.log10(float(levels[2])) + 1.5)
        cells.append(cell(named, levels[:2] == ("momentum", "relu"), quality, 5, 1 + ("adam" in levels) / 2, CIFAR[:3]))
    return content("many_cells", list(keys), cells)


def many_classes() -> Content:
    names = [f"class_{number:03}" for number in range(100)]
    cells = [cell((f"norm={norm}",), norm == "bn", 0.4 + 0.02 * (norm == "gn"), 3, 1.0, names) for norm in ("bn", "gn")]
    return content("many_classes", [NORM], cells)


def long_names() -> Content:
    """Twelve arms of three seeds, with names that need several lines."""
    names = [f"squeeze_and_excitation_reduction_{2**place}" for place in range(11)]
    factor = Factor("attention", ("none", *names), numeric=False, compared=True, baseline="none", follows={})
    other = Factor("optimizer.lr_reference_batch", ("64", "128"), True, False, None, {})
    cells = [
        cell(
            (f"attention={name}", f"optimizer.lr_reference_batch={batch}"),
            name == "none",
            0.6 + place / 50,
            3,
            1 + place,
        )
        for place, name in enumerate(factor.levels)
        for batch in other.levels
    ]
    return content("long_names", [factor, other], cells, findings=[Finding("noise", "some differences are small")])


def rates() -> Content:
    """A compared number, an error that should be small, and an arm that broke."""
    levels = ("0.01", "0.1", "1")
    factor = Factor("optimizer.lr", levels, numeric=True, compared=True, baseline="0.1", follows={})
    cells = [cell((f"optimizer.lr={level}",), level == "0.1", 310 + 20 * float(level), 4, 1.0, ()) for level in levels]
    broken = Curve([1.0, 2.0, 3.0], [float("nan"), 4e5, float("nan")], [], [])
    cells[2] = replace(cells[2], curves=cells[2].curves | {"train/loss": broken}, params=None, macs=None, memory=None)
    return content(
        "rates", [factor], cells, metric=Metric("test/mse", "test error", higher_is_better=False), margin=None
    )


VARIANTS: dict[str, Callable[[], Content]] = {
    each.__name__: each
    for each in (
        norms, activations, one_seed, alone, nothing_finished, running, hostile, many_cells, many_classes, rates,
        long_names,
    )
}  # fmt: skip
