import numpy as np
import torch

from dlzoo.core.rng import Draw, Streams, key, splitmix64


def test_keys_depend_on_every_part_and_on_nothing_else() -> None:
    assert key(0, "order", 3) == key(0, "order", 3)
    assert len({key(0, "order", 3), key(1, "order", 3), key(0, "order", 4), key(0, "augment", 3)}) == 4
    assert key(0, "order") == 1152760118607444429  # the same on every machine, for good


def test_mixing_is_splitmix64() -> None:
    """Against the published algorithm in Python's own integers."""

    def reference(state: int) -> int:
        mask = 2**64 - 1
        z = state * 0x9E3779B97F4A7C15 & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    states = [0, 1, 2, 12345, 2**62 + 7]
    assert [value & (2**64 - 1) for value in splitmix64(torch.tensor(states)).tolist()] == [
        reference(s) for s in states
    ]


def test_a_draw_does_not_depend_on_how_samples_are_put_into_batches() -> None:
    samples = torch.arange(1000)
    whole = Draw(5, samples).uniform("flip")
    parts = torch.cat([Draw(5, part).uniform("flip") for part in samples.split(7)])
    assert torch.equal(whole, parts)
    assert not torch.equal(whole, Draw(5, samples).uniform("crop"))


def test_draws_are_uniform() -> None:
    values = Draw(3, torch.arange(100_000)).uniform("x").numpy()
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, bins=100, range=(0, 1))
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert 60 < chi_square < 150  # 99 degrees of freedom
    lag = np.corrcoef(values[:-1], values[1:])[0, 1]
    assert abs(lag) < 0.02
    assert set(Draw(3, torch.arange(1000)).integers("y", 9).tolist()) == set(range(9))


def test_a_scope_leaves_the_global_generator_alone() -> None:
    streams = Streams(1)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with streams.scope("init"):
        inside = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with streams.scope("init"):
        assert torch.equal(torch.rand(3), inside)


def test_permutations_differ_by_epoch_and_seed() -> None:
    orders = [Streams(seed).permutation(50, "order", epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders)


def test_dropout_s_generator_is_a_function_of_the_step_and_of_nothing_before() -> None:
    cpu = torch.device("cpu")

    def drawn(streams: Streams, step: int, *path: str | int) -> list[float]:
        streams.reseeder("dropout", *path)(cpu, step)
        return torch.rand(3).tolist()

    with torch.random.fork_rng(devices=[]):
        first = drawn(Streams(0), 7)
        others = [drawn(Streams(0), 8), drawn(Streams(1), 7), drawn(Streams(0), 7, 1)]
        assert drawn(Streams(0), 7) == first
        assert first not in others
        assert len({tuple(other) for other in others}) == 3
