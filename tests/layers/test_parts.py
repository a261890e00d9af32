"""Layers that models take as parts, each against an independent reference."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlzoo.builder.model import build, build_model, make_parts
from dlzoo.core.errors import UserError
from dlzoo.core.registries import CONVS, DROPS, MODELS
from dlzoo.layers.conv import ConvNormAct, NormActConv
from dlzoo.layers.non_local import CrossLayerNonLocal
from dlzoo.layers.parts import Parts
from dlzoo.layers.pool import SpatialPyramid
from dlzoo.models.resnext import residual_block
from tests.small import train, weights


def parts_of(**chosen: object) -> Parts:
    return make_parts(MODELS["resnet20"], chosen)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """The same module with every parameter drawn anew: nothing starts as zero or one."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=numbers) * 0.5)
    return module


def conv(kind: str, *, size: int = 9, valid: bool = False, stride: int = 1, kernel_size: int = 3, **settings: object):
    place = {"in_channels": 4, "out_channels": 8, "kernel_size": kernel_size, "stride": stride, "bias": True}
    place |= {"valid": valid, "number": 0, "size": size}
    return CONVS.build(kind, wiring=place, **settings)


def conv_by_hand(x: Tensor, weight: Tensor, bias: Tensor, stride: int, dilation: int = 1) -> Tensor:
    """Loops over output pixels, in numpy; zeros around, one more at the end where they are odd."""
    out_channels, _, height, width = weight.shape
    around = [dilation * (k - 1) for k in (height, width)]
    sides = [(a // 2, a - a // 2) for a in around]
    padded = np.pad(x.detach().numpy(), ((0, 0), (0, 0), *sides))
    size = [-(-s // stride) for s in x.shape[2:]]
    out = np.zeros((len(x), out_channels, *size), dtype=np.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            rows = i * stride + dilation * np.arange(height)
            columns = j * stride + dilation * np.arange(width)
            patch = padded[:, :, rows][:, :, :, columns]
            out[:, :, i, j] = np.einsum("nchw,ochw->no", patch, weight.detach().numpy()) + bias.detach().numpy()
    return torch.from_numpy(out)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
def test_a_convolution_is_its_sum_for_odd_and_even_kernels(kernel_size: int, stride: int) -> None:
    layer, x = conv("standard", kernel_size=kernel_size, stride=stride).double(), torch.randn(2, 4, 9, 8).double()
    torch.testing.assert_close(layer(x), conv_by_hand(x, layer.weight, layer.bias, stride))


def dense_weight(kind: str, layer: nn.Module) -> Tensor:
    """The weight of the dense convolution that a factorised one is."""
    if kind == "separable":
        depthwise, pointwise = layer[0].weight, layer[1].weight
        return pointwise * depthwise[:, 0][None]
    if kind == "asymmetric":
        column, row = layer[0].weight, layer[1].weight
        return torch.einsum("mcka,ombl->ockl", column, row)
    groups, weight = layer.groups, layer.weight
    dense = torch.zeros(8, 4, *weight.shape[2:], dtype=weight.dtype)
    for group in range(groups):
        out, seen = (
            slice(group * 8 // groups, (group + 1) * 8 // groups),
            slice(group * 4 // groups, (group + 1) * 4 // groups),
        )
        dense[out, seen] = weight[out]
    return dense


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", ["grouped", "depthwise", "separable", "asymmetric"])
def test_factorised_convolutions_equal_the_dense_one_that_they_factorise(kind: str, stride: int) -> None:
    layer, x = conv(kind, stride=stride).double(), torch.randn(2, 4, 9, 9).double()
    bias = (layer[-1] if isinstance(layer, nn.Sequential) else layer).bias
    expected = F.conv2d(x, dense_weight(kind, layer), bias, stride=stride, padding=1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_a_dilated_convolution_spreads_its_taps(kernel_size: int) -> None:
    layer, x = conv("dilated", kernel_size=kernel_size, rates=[3]).double(), torch.randn(2, 4, 9, 9).double()
    torch.testing.assert_close(layer(x), conv_by_hand(x, layer.weight, layer.bias, 1, dilation=3))


def test_dilation_rates_are_taken_in_turn() -> None:
    network = build_model("vgg11", num_classes=2, image_size=32, conv={"name": "dilated", "rates": [1, 2, 5]})
    rates = [m.dilation[0] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert rates == [1, 2, 5, 1, 2, 5, 1, 2]
    with pytest.raises(UserError, match="at least one rate"):
        conv("dilated", rates=[])


@pytest.mark.parametrize(("stride", "valid"), [(1, False), (2, False), (1, True)])
def test_a_locally_connected_layer_with_equal_weights_is_a_convolution(stride: int, valid: bool) -> None:
    local, x = conv("locally_connected", stride=stride, valid=valid).double(), torch.randn(2, 4, 9, 9).double()
    weight, bias = torch.randn(8, 4, 3, 3).double(), torch.randn(8).double()
    with torch.no_grad():
        local.weight.copy_(weight.flatten(1)[:, :, None].expand_as(local.weight))
        local.bias.copy_(bias[:, None].expand_as(local.bias))
    expected = F.conv2d(x, weight, bias, stride=stride, padding=0 if valid else 1)
    torch.testing.assert_close(local(x), expected)
    pixels = expected[0, 0].numel()
    assert sum(p.numel() for p in local.parameters()) == pixels * (9 * 4 * 8 + 8)


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("standard", 9 * 4 * 8),
        ("grouped", 9 * 4 * 8 // 2),
        ("depthwise", 9 * 8),
        ("separable", 9 * 4 + 4 * 8),
        ("asymmetric", 3 * (4 + 8) * 8),
        ("dilated", 9 * 4 * 8),
    ],
)
def test_convolutions_cost_what_their_docstrings_say(kind: str, count: int) -> None:
    assert sum(p.numel() for p in conv(kind).parameters()) == count + 8


def test_the_kernel_size_of_every_convolution_that_conv_reaches() -> None:
    network = build_model("resnet20", num_classes=2, image_size=32, conv={"name": "standard", "kernel_size": 4})
    kernels = [m.kernel_size[0] for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [3] + [4] * 18  # the stem is not reached
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 2)
    with pytest.raises(UserError, match="does not support conv=standard"):  # it has no such convolutions
        build_model("mobilenet_v2", num_classes=2, conv={"name": "standard", "kernel_size": 5})


# Attention


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()
    return x @ layer.weight.detach().numpy().T + bias


def test_squeeze_and_excitation() -> None:
    layer, x = (
        randomised(build("attention", "se", reduction=2)(channels=16)).double(),
        torch.randn(2, 16, 5, 4).double(),
    )
    squeezed = x.numpy().mean((2, 3))
    gates = sigmoid(linear(layer.expand, np.maximum(linear(layer.reduce, squeezed), 0)))
    np.testing.assert_allclose(layer(x).detach(), x.numpy() * gates[:, :, None, None])
    assert layer.reduce.out_features == 8


@pytest.mark.parametrize("kind", ["both", "channel", "spatial"])
def test_cbam(kind: str) -> None:
    layer = randomised(build("attention", "cbam", kind=kind, kernel_size=3)(channels=16)).double()
    x = torch.randn(2, 16, 5, 4).double()
    expected = x.numpy()
    if kind != "spatial":
        first, _, second = layer.channel.perceptron

        def perceptron(features: np.ndarray) -> np.ndarray:
            return linear(second, np.maximum(linear(first, features), 0))

        gates = sigmoid(perceptron(expected.mean((2, 3))) + perceptron(expected.max((2, 3))))
        expected = expected * gates[:, :, None, None]
    if kind != "channel":
        summary = torch.from_numpy(np.stack([expected.mean(1), expected.max(1)], 1))
        where = conv_by_hand(summary, layer.spatial.conv.weight, layer.spatial.conv.bias, 1).numpy()
        expected = expected * sigmoid(where)
    np.testing.assert_allclose(layer(x).detach(), expected)


@pytest.mark.parametrize(("channels", "kernel"), [(8, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)])
def test_eca_looks_at_as_many_neighbours_as_its_paper_says(channels: int, kernel: int) -> None:
    """Equation 12 with gamma 2 and b 1, as in the reference code."""
    layer, x = build("attention", "eca")(channels=channels).double(), torch.randn(2, channels, 3, 3).double()
    assert layer.conv.kernel_size == (kernel,)
    means = np.pad(x.numpy().mean((2, 3)), ((0, 0), (kernel // 2,) * 2))
    taps = layer.conv.weight.detach().numpy().ravel()
    gates = sigmoid(np.stack([(means[:, c : c + kernel] * taps).sum(1) for c in range(channels)], 1))
    np.testing.assert_allclose(layer(x).detach(), x.numpy() * gates[:, :, None, None])


def pixels(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W, C)"""
    return maps.flatten(2).transpose(1, 2)


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Pixel by pixel: the mean of the values, weighed by how well their keys fit."""
    q, k, v = pixels(query), pixels(key), pixels(value)
    out = torch.zeros(*q.shape[:2], v.shape[2], dtype=q.dtype)
    for image in range(len(q)):
        for pixel in range(q.shape[1]):
            fits = torch.exp(k[image] @ q[image, pixel])
            out[image, pixel] = (fits[:, None] * v[image]).sum(0) / fits.sum()
    return out.transpose(1, 2).reshape(len(q), -1, *query.shape[2:])


def test_non_local() -> None:
    layer, x = randomised(build("attention", "non_local")(channels=6)).double(), torch.randn(2, 6, 4, 3).double()
    torch.testing.assert_close(layer(x), x + layer.out(attended(layer.theta(x), layer.phi(x), layer.g(x))))
    fewer = randomised(build("attention", "non_local", subsample=True)(channels=6)).double()
    seen = F.max_pool2d(x, 2, ceil_mode=True)
    torch.testing.assert_close(fewer(x), x + fewer.out(attended(fewer.theta(x), fewer.phi(seen), fewer.g(seen))))


def test_cross_layer_non_local() -> None:
    layer = randomised(CrossLayerNonLocal(6, 10)).double()
    x, deeper = torch.randn(2, 6, 4, 3).double(), torch.randn(2, 10, 2, 2).double()
    expected = x + layer.out(attended(layer.query(x), layer.key(deeper), layer.value(deeper)))
    torch.testing.assert_close(layer(x, deeper), expected)


def test_cgnl_is_the_product_with_the_matrix_of_all_pairs() -> None:
    layer, x = randomised(build("attention", "cgnl", groups=2)(channels=8)).double(), torch.randn(2, 8, 3, 2).double()
    theta, phi, g = (part(x).unflatten(1, (2, 2)).flatten(2) for part in (layer.theta, layer.phi, layer.g))
    pairs = theta[..., :, None] * phi[..., None, :]  # every channel of every pixel with every other, of its group
    found = (pairs @ g[..., None])[..., 0] / theta.shape[2] ** 0.5
    expected = x + layer.norm(layer.out(found.reshape(2, 4, 3, 2)))
    torch.testing.assert_close(layer(x), expected)


def test_self_attention_is_torchs() -> None:
    layer = randomised(build("attention", "self_attention", num_heads=4)(channels=8)).double()
    x = torch.randn(2, 8, 3, 4).double()
    reference = nn.MultiheadAttention(8, 4, batch_first=True).double()
    with torch.no_grad():
        reference.in_proj_weight.copy_(layer.query_key_value.weight.flatten(1))
        reference.in_proj_bias.copy_(layer.query_key_value.bias)
        reference.out_proj.weight.copy_(layer.out.weight.flatten(1))
        reference.out_proj.bias.copy_(layer.out.bias)
    tokens = pixels(x)
    found, _ = reference(tokens, tokens, tokens)
    torch.testing.assert_close(layer(x), x + found.transpose(1, 2).reshape(x.shape))


@pytest.mark.parametrize("name", ["non_local", "cgnl", "self_attention"])
def test_attention_among_pixels_starts_as_the_identity_whatever_the_initialisation(name: str) -> None:
    network = build_model("resnet20", num_classes=2, image_size=32, attention=name, init="he")
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(network.stages[0][0].attention(x), x)


# Pooling, heads, upsampling


def test_pools() -> None:
    x, place = torch.randn(2, 3, 7, 7), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": False}
    patches = F.unfold(F.pad(x, (1, 1, 1, 1), value=-math.inf), 3, stride=2).unflatten(1, (3, 9)).unflatten(3, (4, 4))
    torch.testing.assert_close(build("pool", "max")(**place)(x), patches.amax(2))
    inside = patches.isfinite()
    mean = patches.where(inside, torch.zeros(())).sum(2) / inside.sum(2)
    torch.testing.assert_close(build("pool", "avg")(**place)(x), mean)


@pytest.mark.parametrize(("size", "window"), [(7, (2, 2, 0, True)), (8, (3, 2, 0, True)), (9, (3, 2, 0, False))])
def test_a_convolution_in_place_of_a_pooling_gives_maps_of_the_same_size(size: int, window: tuple) -> None:
    place = dict(zip(("kernel_size", "stride", "padding", "ceil_mode"), window, strict=True))
    x, parts = torch.randn(2, 16, size, size), parts_of(norm="none", pool="conv")
    pool = parts.pool(16, place.pop("kernel_size"), **place)
    expected = build("pool", "max")(kernel_size=window[0], **place)(x)
    assert pool(x).shape == expected.shape
    padded = F.pad(x, (0, 1, 0, 1)) if window[3] else x
    torch.testing.assert_close(pool(x), F.conv2d(padded, pool.block.conv.weight, pool.block.conv.bias, stride=2).relu())


def test_spatial_pyramid_pooling() -> None:
    x = torch.randn(2, 3, 9, 9)
    found = SpatialPyramid((1, 5, 9, 13))(x).unflatten(1, (4, 3))
    assert torch.equal(found[:, 0], x)
    for index, size in enumerate((5, 9, 13), 1):
        for i, j in [(0, 0), (4, 4), (8, 3)]:
            r = size // 2
            window = x[:, :, max(i - r, 0) : i + r + 1, max(j - r, 0) : j + r + 1]
            assert torch.equal(found[:, index, :, i, j], window.amax((2, 3)))
    with pytest.raises(UserError, match="odd numbers"):
        SpatialPyramid((2,))


def test_heads() -> None:
    x, place = torch.randn(2, 3, 9, 9), {"channels": 3, "size": 9, "parts": parts_of(act="tanh")}
    torch.testing.assert_close(build("head", "gap")(channels=3)(x), x.mean((2, 3)))
    fc = build("head", "fc", hidden=[5], drop_rate=0.0)(**place)
    torch.testing.assert_close(fc(x), fc.hidden[0](x.flatten(1)).tanh())
    spp = build("head", "spp")(channels=3)
    torch.testing.assert_close(spp(x), SpatialPyramid()(x).mean((2, 3)))
    for head, features in ((fc, 5), (spp, 12)):
        assert head.out_features == features


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_upsampling(factor: int) -> None:
    x = torch.randn(2, 3, 5, 4)
    repeated = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    assert torch.equal(build("upsample", "nearest")(factor=factor)(x), repeated)
    # The centre of output pixel i lies at (i + 1/2) / factor - 1/2.
    places = [((torch.arange(size * factor) + 0.5) / factor - 0.5).clamp(0, size - 1) for size in (5, 4)]
    matrices = [
        (1 - (place[:, None] - torch.arange(size)).abs()).clamp(min=0)
        for place, size in zip(places, (5, 4), strict=True)
    ]
    expected = torch.einsum("ih,nchw,jw->ncij", matrices[0], x, matrices[1])
    torch.testing.assert_close(build("upsample", "bilinear")(factor=factor)(x), expected, rtol=1e-4, atol=1e-5)
    learnt = build("upsample", "transposed")(channels=3, factor=factor)(x)
    assert learnt.shape == expected.shape
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    torch.testing.assert_close(learnt[inner], expected[inner], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_transposed_convolution_is_the_gradient_of_a_convolution(factor: int) -> None:
    layer, x = randomised(build("upsample", "transposed")(channels=3, factor=factor)), torch.randn(2, 3, 4, 4)
    image = torch.randn(2, 3, 4 * factor, 4 * factor, requires_grad=True)
    settings = {"stride": factor, "padding": layer.conv.padding, "groups": 3}
    F.conv2d(image, layer.conv.weight, **settings).backward(x)
    torch.testing.assert_close(layer(x), image.grad)


# Norms


def test_local_response_norm_is_the_papers_sum() -> None:
    x = np.abs(np.random.default_rng(0).normal(size=(2, 12, 3, 3)))
    layer = build("norm", "lrn")(12)
    expected = np.empty_like(x)
    for channel in range(12):
        near = x[:, max(0, channel - 2) : channel + 3]
        expected[:, channel] = x[:, channel] / (2 + 1e-4 * (near**2).sum(1)) ** 0.75
    np.testing.assert_allclose(layer(torch.from_numpy(x)), expected, rtol=1e-6)
    assert layer(torch.randn(4, 12)).shape == (4, 12)


def test_local_response_norm_follows_the_activation() -> None:
    block = ConvNormAct(3, 12, 3, parts_of(norm="lrn"))
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(block(x), block.norm(block.conv(x).relu()))


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_cross_mini_batch_norm_over_parts_equals_batch_norm_over_the_whole(parts: int) -> None:
    x = torch.randn(8, 3, 4, 4, dtype=torch.double) * 2 + 5
    whole, across = (randomised(build("norm", name, momentum=0.3)(3)).double() for name in ("bn", "cmbn"))
    for _ in range(2):  # two steps: the second forgets the first
        expected = whole(x)
        across.begin_step()
        for part in x.chunk(parts):
            found = across(part)
        torch.testing.assert_close(found, expected.chunk(parts)[-1])
        torch.testing.assert_close(across.running_mean, whole.running_mean)
        torch.testing.assert_close(across.running_var, whole.running_var)
        x = x.flip(0) * 3 - 1
    assert across.num_batches_tracked == whole.num_batches_tracked == 2
    torch.testing.assert_close(across.eval()(x), whole.eval()(x))


def test_cross_mini_batch_norm_with_one_part_has_batch_norms_gradients() -> None:
    x = torch.randn(4, 3, 4, 4, dtype=torch.double)
    grads = []
    for name in ("bn", "cmbn"):
        norm, image = randomised(build("norm", name)(3)).double(), x.clone().requires_grad_()
        (norm(image) ** 3).sum().backward()
        grads.append([image.grad, norm.weight.grad, norm.bias.grad])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(first, second)


def test_a_run_tells_cross_mini_batch_norm_where_steps_begin() -> None:
    """Weights that stand still: its statistics over four parts are batch norm's over the batch."""
    still = [
        "trainer=cpu",
        "model=mlp",
        "model.hidden=[8]",
        "data.limit=200",
        "data.batch_size=40",
        "optimizer.lr=1e-30",
    ]
    still += ["trainer.max_epochs=1"]
    whole = weights(train(*still, "norm=bn"))
    across = weights(train(*still, "norm=cmbn", "trainer.accumulate=4"))
    for key in ("running_mean", "running_var"):
        key = f"network.layers.0.norm.{key}"
        torch.testing.assert_close(across[key], whole[key], rtol=1e-5, atol=1e-6)


# The dropout family


@pytest.mark.parametrize("name", [name for name in DROPS.names() if name != "none"])
def test_noise_keeps_the_mean_and_is_gone_in_evaluation(name: str) -> None:
    torch.manual_seed(0)
    layer, x = DROPS.build(name, wiring={"depth": 1.0}), torch.rand(2000, 3, 8, 8) + 1
    out = layer(x)
    assert out.mean().item() == pytest.approx(x.mean().item(), rel=0.02)
    assert not torch.equal(out, x)
    assert torch.equal(layer.eval()(x), x)
    calm = DROPS.build(name, wiring={"depth": 1.0}, **({"beta": 0.0} if name == "uniform" else {"rate": 0.0}))
    assert torch.equal(calm(x), x)


def test_the_two_scalings_of_dropout_agree_in_expectation() -> None:
    torch.manual_seed(0)
    x = torch.rand(100, 1000) + 1
    at_train, at_test = (build("drop", "dropout", rate=0.4, scaling=scaling) for scaling in ("train", "test"))
    # What the next layer sees in evaluation, over what it sees in training on average, is the same for both.
    ratios = []
    for layer in (at_train, at_test):
        # torch scales what is kept in training; the paper's layer does not.
        ratios.append(layer.train()(x).mean() / layer.eval()(x).mean())
    assert ratios[0].item() == pytest.approx(1, rel=0.02)
    assert ratios[1].item() == pytest.approx(1, rel=0.02)
    assert at_test.train()(x).max() <= x.max()  # nothing is scaled up
    torch.testing.assert_close(at_test.eval()(x), 0.6 * x)


def test_spatial_dropout_takes_whole_channels() -> None:
    torch.manual_seed(0)
    zero = build("drop", "spatial", rate=0.3)(torch.ones(500, 8, 4, 4)) == 0
    assert torch.equal(zero.any((2, 3)), zero.all(3).all(2))
    assert zero.float().mean().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("name", "settings", "variance"), [("gaussian", {"rate": 0.2}, 0.25), ("uniform", {"beta": 0.3}, 0.03)]
)
def test_multiplicative_noise_has_the_variance_of_its_paper(name: str, settings: dict, variance: float) -> None:
    torch.manual_seed(0)
    noise = build("drop", name, **settings)(torch.ones(200_000))
    assert noise.var().item() == pytest.approx(variance, rel=0.02)


def test_dropblock_drops_squares_and_keeps_the_expected_sum() -> None:
    torch.manual_seed(0)
    layer, ones = build("drop", "dropblock", rate=0.1, block_size=3), torch.ones(200, 4, 12, 12)
    out = layer(ones)
    assert out.sum().item() == pytest.approx(ones.sum().item(), rel=1e-4)  # normalised over the batch
    dropped = (out == 0).float()
    assert dropped.mean().item() == pytest.approx(0.1, abs=0.015)
    # Every dropped pixel lies in a square of 3 x 3 that is dropped as a whole.
    whole = -F.max_pool2d(-dropped, 3, stride=1)
    covered = F.max_pool2d(F.pad(whole, (2, 2, 2, 2)), 3, stride=1)
    assert torch.equal(covered, dropped)
    assert layer(torch.ones(4, 2, 2, 2)).shape == (4, 2, 2, 2)  # maps smaller than the square


def test_stochastic_depth_drops_deeper_branches_more_often() -> None:
    torch.manual_seed(0)
    network = build_model("resnet20", num_classes=2, image_size=32, drop={"name": "stochastic_depth", "rate": 0.5})
    rates = [block.branch_drop.rate for stage in network.stages for block in stage]
    assert rates == pytest.approx([0.5 * block / 9 for block in range(1, 10)])
    with pytest.raises(UserError, match="removes whole branches"):
        build_model("resnet20", num_classes=2, drop={"name": "stochastic_depth", "place": "before_norm"})
    out = DROPS.build("stochastic_depth", wiring={"depth": 1.0}, rate=0.5)(torch.ones(2000, 2, 2, 2))
    assert torch.equal(out.amax((1, 2, 3)), out.amin((1, 2, 3)))  # a sample at a time
    assert out.mean().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("block", [ConvNormAct, NormActConv])
def test_noise_stands_before_the_norm_or_behind_it(block: type) -> None:
    x = torch.randn(2, 8, 6, 6)

    class Mark(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 100

    for place in ("after_norm", "before_norm"):
        layer = block(8, 8, 3, parts_of(drop={"name": "dropout", "place": place}), drop=True)
        layer.drop, layer.norm = Mark(), nn.Flatten(0, 0)  # a norm that changes nothing
        if block is ConvNormAct:
            before = layer.conv(x)
            expected = (before + 100).relu() if place == "before_norm" else before.relu() + 100
        else:
            expected = layer.conv((x + 100).relu() if place == "before_norm" else x.relu() + 100)
        torch.testing.assert_close(layer(x), expected)


# ResNeXt's three forms


@pytest.mark.parametrize("form", ["concatenated", "split"])
@pytest.mark.parametrize("norm", ["bn", "in"])
def test_the_three_forms_of_resnext_compute_the_same(form: str, norm: str) -> None:
    settings = {"groups": 4, "width_per_group": 8, "shortcut": "B", "depth": 1.0, "downsample": "conv"}
    grouped = randomised(residual_block(24, 64, 2, parts_of(norm=norm), form="grouped", **settings)).double()
    other = residual_block(24, 64, 2, parts_of(norm=norm), form=form, **settings).double()
    branches = other.branch.branches if form == "split" else other.branch[0].branches
    with torch.no_grad():
        for index, branch in enumerate(branches):
            own = slice(index * 8, index * 8 + 8)
            for layer, source in zip(branch, (grouped.conv1, grouped.conv2), strict=True):
                layer.conv.weight.copy_(source.conv.weight[own])
                layer.norm.weight.copy_(source.norm.weight[own])
                layer.norm.bias.copy_(source.norm.bias[own])
            if form == "split":
                other.branch.expand[index].weight.copy_(grouped.conv3.conv.weight[:, own])
        end = other.branch if form == "split" else other.branch[1]
        if form == "concatenated":
            end.conv.weight.copy_(grouped.conv3.conv.weight)
        end.norm.load_state_dict(grouped.conv3.norm.state_dict())
        other.shortcut.load_state_dict(grouped.shortcut.state_dict())
    x = torch.randn(3, 24, 8, 8).double()
    torch.testing.assert_close(other(x), grouped(x))


@pytest.mark.parametrize(
    ("kind", "part", "model", "match"),
    [
        ("drop", "stochastic_depth", "vgg11", "does not support drop"),
        ("drop", "dropblock", "mlp", "does not support drop"),
        ("conv", "locally_connected", "resnet20", "does not support conv"),
    ],
)
def test_what_build_returned_needs_the_same_places(kind: str, part: str, model: str, match: str) -> None:
    with pytest.raises(UserError, match=match):
        build_model(model, num_classes=2, image_size=32, **{kind: build(kind, part)})
    assert build_model("resnet20", num_classes=2, drop=build("drop", "stochastic_depth"))
    with pytest.raises(UserError, match="conv must be a name"):
        build_model("resnet20", num_classes=2, conv=nn.Conv2d)


def test_drop_block_counts_in_single_precision() -> None:
    out = build("drop", "dropblock", rate=0.1)(torch.ones(64, 64, 32, 32, dtype=torch.bfloat16))
    assert out.float().mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnext29_8x64d", "resnet20", "darknet53", "shufflenet_v1"])
def test_residual_branches_can_start_as_zero(name: str) -> None:
    settings = {"form": "split", "width": 8} if name == "resnext29_8x64d" else {}
    network = build_model(name, num_classes=2, image_size=32, init={"name": "he", "zero_last_norm": True}, **settings)
    zero = [m for m in network.modules() if isinstance(getattr(m, "weight", None), nn.Parameter) and not m.weight.any()]
    assert len(zero) >= 8


@pytest.mark.parametrize("init", ["default", "he", "orthogonal"])
def test_locally_connected_weights_start_as_those_of_a_convolution(init: str) -> None:
    torch.manual_seed(0)
    local, shared = (
        build_model("lenet", num_classes=2, in_channels=1, image_size=28, conv=kind, init=init)
        for kind in ("locally_connected", "standard")
    )
    for one, other in ((local.stage1, shared.stage1), (local.stage2, shared.stage2)):
        assert one[0].conv.weight.std().item() == pytest.approx(other[0].conv.weight.std().item(), rel=0.15)


@pytest.mark.parametrize(
    ("chosen", "match"),
    [
        (
            {"conv": {"name": "standard", "kernel_size": 0}},
            "conv=standard: kernel_size must be an integer from 1 to 100,000",
        ),
        ({"conv": {"name": "standard", "kernel_size": "x"}}, "kernel_size must be"),
        ({"drop": {"name": "dropout", "place": "foo"}}, "place must be after_norm or before_norm"),
        ({"init": {"name": "he", "zero_last_norm": "no"}}, "zero_last_norm must be true or false"),
        ({"head": nn.Flatten()}, "has no attribute out_features"),
        ({"act": torch.relu}, "act must be a name"),
    ],
)
def test_wrong_parts_from_python_are_one_line(chosen: dict, match: str) -> None:
    with pytest.raises(UserError, match=match):
        build_model("resnet20", num_classes=2, **chosen)
