"""Tests of the fast CPU kernels, with PyTorch's modules as the reference."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.cpu_kernels import channel_products, channel_sums, channels_last, normalise, normalise_and_drop
from stampbench.models.errors import ModelError
from stampbench.models.model import Architecture, Model, build
from stampbench.models.networks.swift import SwiftUNet
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.unet import NORM, ConvUnit, UNet

EPSILON = torch.finfo(torch.float32).eps
SIZES = {2: (16, 32), 3: (16, 16, 32)}


def error(found: Tensor, exact: Tensor) -> float:
    """Return the largest absolute difference, relative to the largest absolute value of `exact`."""
    return float((found.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-30))


def assert_as_exact(found: Tensor, plain: Tensor, exact: Tensor, *, slack: float = 8.0) -> None:
    """Assert that `found` is as close to the float64 result as PyTorch's float32 result, or within a few roundings."""
    assert error(found, exact) <= slack * max(error(plain, exact), 4 * EPSILON), (
        error(found, exact),
        error(plain, exact),
    )


def trained_norm(spatial_dims: int, channels: int) -> nn.BatchNorm2d | nn.BatchNorm3d:
    """Return a BatchNorm layer with random weights and biases."""
    norm = NORM[spatial_dims](channels)
    nn.init.normal_(norm.weight, 1, 0.5)
    nn.init.normal_(norm.bias)
    return norm


NAMES = ("output", "input gradient", "weight gradient", "bias gradient", "running mean", "running variance")


@settings(max_examples=60)
@given(
    st.integers(1, 3),
    st.integers(1, 40),
    st.lists(st.integers(1, 7), min_size=2, max_size=3),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.0, 3.0, 30.0, 1000.0]),
    st.integers(0, 2**31),
)
def test_normalisation_and_dropout_equal_pytorch(
    images: int, channels: int, size: list[int], p: float, mean: float, seed: int
) -> None:
    torch.manual_seed(seed)
    dims = len(size)
    if images * torch.Size(size).numel() < 2:
        size[0] = 2  # PyTorch raises an error for one value per channel
    norm = trained_norm(dims, channels)
    norm.running_mean = torch.randn(channels)
    # BatchNorm receives ReLU outputs, so the data contain zeros and have a positive mean.
    data = (torch.randn(images, channels, *size) + mean).relu()
    weights = torch.randn(images, channels, *size)
    noise_seed = seed + 1

    def run(dtype: torch.dtype, fast: bool) -> list[Tensor]:
        torch.manual_seed(noise_seed)
        layer, x = copy.deepcopy(norm).to(dtype).train(), data.clone().to(dtype).requires_grad_()
        if fast:
            y, squares = normalise_and_drop(channels_last(x), layer, p)
            torch.testing.assert_close(squares, data.square().flatten(2).sum(2), rtol=1e-5, atol=1e-5)
        else:
            # Draw the dropout mask in float32 for every dtype, so that all variants drop the same channels.
            kept = torch.empty(images, channels).bernoulli_(1 - p).div_(1 - p) if p else torch.ones(images, channels)
            y = layer(x) * kept.to(dtype).view(images, channels, *[1] * dims)
        (y * weights.to(dtype)).sum().backward()
        assert x.grad is not None
        return [y.detach(), x.grad, layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]

    results = zip(run(torch.float32, True), run(torch.float32, False), run(torch.float64, False), strict=True)
    for name, (found, plain, exact) in zip(NAMES, results, strict=True):
        # Gradients are sums over voxels that can cancel, so the tolerance is relative to the sum of absolute values.
        summed = float(weights.abs().transpose(0, 1).flatten(1).sum(1).max()) if "gradient" in name else 0.0
        scale = max(summed, float(exact.abs().max())) * max(1.0, mean)
        plain_error = float((plain.double() - exact).abs().max())
        assert float((found.double() - exact).abs().max()) <= 16 * max(plain_error, 4 * EPSILON * scale), name


def test_large_mean_does_not_reduce_precision() -> None:
    """At a mean of 3000 standard deviations, the one-pass variance alone would lose all digits."""
    torch.manual_seed(0)
    data = torch.randn(4, 4, 32, 32) + 3000
    norm = nn.BatchNorm2d(4)
    found = normalise_and_drop(channels_last(data), copy.deepcopy(norm), 0.0)[0]
    assert_as_exact(found, norm(data), nn.BatchNorm2d(4).double()(data.double()))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_dropout_draws_the_same_random_numbers_as_pytorch(spatial_dims: int) -> None:
    unit = ConvUnit(spatial_dims, 3, 8).train()
    unit.dropout.p = 0.5
    x = torch.randn(4, 3, *SIZES[spatial_dims])
    results = []
    for fast in (False, True):
        torch.manual_seed(3)
        results.append(copy.deepcopy(unit)(channels_last(x) if fast else x, fast))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
    assert ((results[0] == 0).flatten(2).all(2) == (results[1] == 0).flatten(2).all(2)).all()
    assert 0 < int((results[1] == 0).flatten(2).all(2).sum()) < 32


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9))
def test_channel_sums_and_products_equal_pytorch(images: int, channels: int, height: int, width: int) -> None:
    x, y = (torch.randn(images, channels, height, width) for _ in range(2))
    torch.testing.assert_close(channel_sums(channels_last(x)), x.sum((2, 3)), rtol=1e-5, atol=1e-5)
    products = channel_products(channels_last(x), channels_last(y))
    torch.testing.assert_close(products, (x * y).sum((2, 3)), rtol=1e-5, atol=1e-5)


def test_normalise_equals_batchnorm_in_evaluation_mode() -> None:
    norm = trained_norm(3, 5).eval()
    norm.running_mean, norm.running_var = torch.randn(5), torch.rand(5) + 0.1
    x = torch.randn(2, 5, 4, 6, 2)
    torch.testing.assert_close(normalise(channels_last(x), norm), norm(x), rtol=1e-5, atol=1e-5)


NETWORKS: dict[str, Callable[[int], Architecture]] = {
    "unet": lambda dims: UNetArchitecture.doubling(dims, 2, 3, f=3, depth=2),
    "one_filter_each": lambda dims: UNetArchitecture.flat(dims, 1, 2, f=1, depth=3),
    "swift_unet": lambda dims: TracedArchitecture.unpruned("swift_unet", SwiftUNet(f=4, depth=1), dims, 1, 2),
    "pocket_unet": lambda dims: PocketNetArchitecture(
        spatial_dims=dims, in_channels=1, out_channels=3, f=4, depth=2, block="unet"
    ),
    "full_resnet": lambda dims: PocketNetArchitecture(
        spatial_dims=dims, in_channels=1, out_channels=3, f=4, depth=2, block="resnet", pocket=False
    ),
    "lits_densenet": lambda dims: PocketNetArchitecture(
        spatial_dims=dims, in_channels=1, out_channels=2, f=4, depth=2, block="densenet", construction="lits2021"
    ),
}


def network(name: str, spatial_dims: int) -> Model:
    """Build one of `NETWORKS` with random BatchNorm weights."""
    torch.manual_seed(1)
    model = build(NETWORKS[name](spatial_dims))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1, 0.2)
    return model


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_gradients_and_statistics_agree_for_both_kernels(name: str, images: int, spatial_dims: int) -> None:
    model = network(name, spatial_dims)
    x = torch.randn(images, model.architecture.in_channels, *SIZES[spatial_dims])

    def run(kernels: str, dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
        twin = copy.deepcopy(model).to(dtype)
        twin.kernels = kernels  # type: ignore[assignment]
        torch.manual_seed(2)
        trained = twin.train()(x.to(dtype))
        trained.square().mean().backward()
        outputs = [trained.detach(), twin.eval()(x.to(dtype)).detach()]
        statistics = [value for key, value in twin.state_dict().items() if "running" in key]
        return outputs + statistics, [p.grad for p in twin.parameters() if p.grad is not None]

    for module in model.modules():
        if isinstance(module, nn.Dropout2d | nn.Dropout3d):
            module.p = 0.0  # dropout draws other random numbers in float64
    fast, plain, exact = run("fast", torch.float32), run("plain", torch.float32), run("plain", torch.float64)
    for found, other, truth in zip(fast[0], plain[0], exact[0], strict=True):
        assert_as_exact(found, other, truth)
    # Compare all gradients together, because single ones are pure rounding error, such as biases before BatchNorm.
    assert len(fast[1]) == len(list(model.parameters()))
    together = [torch.cat([each.flatten() for each in part[1]]) for part in (fast, plain, exact)]
    assert_as_exact(*together)


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_fast_kernels_pass_channels_last_to_every_convolution(name: str, spatial_dims: int, images: int) -> None:
    model = network(name, spatial_dims)
    model.kernels = "fast"
    strides = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        strides.append(inputs[0].stride(1) == 1)

    for module in model.modules():
        if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Conv2d | nn.Conv3d):
            module.register_forward_pre_hook(record)
    model.train()(torch.randn(images, model.architecture.in_channels, *SIZES[spatial_dims]))
    assert strides or images == 1  # for a single image, the convolution modules are bypassed
    assert all(strides)


@pytest.mark.parametrize("kernels", ["plain", "fast"])
@pytest.mark.parametrize("name", ["unet", "full_resnet"])
def test_activation_checkpointing_changes_only_the_memory(name: str, kernels: str) -> None:
    model = network(name, 2)
    if name == "unet":
        model.set_dropout({"conv1": 0.5, "conv3": 0.3})
    x = torch.randn(3, model.architecture.in_channels, *SIZES[2])
    results, kept = [], []
    for save_memory in (False, True):
        twin = copy.deepcopy(model).train()
        twin.kernels, twin.save_memory = kernels, save_memory  # type: ignore[assignment]
        seen: list[Tensor] = []
        if isinstance(twin, UNet):
            twin.unit(1).see_squares = seen.append
        stored: dict[int, int] = {}

        def pack(tensor: Tensor, stored: dict[int, int] = stored) -> Tensor:
            stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(5)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = twin(x).square().mean()
        loss.backward()
        assert len(seen) == (name == "unet")
        results.append([*twin.state_dict().values(), *(p.grad for p in twin.parameters())])
        kept.append(sum(stored.values()))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_autocast_convolutions_are_normalised_in_single_precision(kernels: str) -> None:
    model = network("unet", 2).train()
    model.kernels = kernels  # type: ignore[assignment]
    dtypes = []
    for unit in model.units:
        unit.see_squares = lambda squares: dtypes.append(squares.dtype)
    x = torch.randn(4, 2, *SIZES[2])
    exact = copy.deepcopy(model).double()
    exact.kernels = "plain"
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x)
    found.float().square().mean().backward()
    assert set(dtypes) == {torch.float32}
    truth = exact(x.double())
    assert error(found.detach().float(), truth.detach()) < 0.1
    for found_buffer, exact_buffer in zip(model.buffers(), exact.buffers(), strict=True):
        assert found_buffer.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(found_buffer.double(), exact_buffer.double(), rtol=0.05, atol=0.02)


def test_pytorchs_channels_last_batchnorm_is_inaccurate() -> None:
    """This is why it is not used; when this test fails, it can replace cpu_kernels.py's (docs/performance.md)."""
    torch.manual_seed(0)
    a = channels_last(torch.randn(8, 4, 48, 64, 48).relu())
    fast, pytorch = nn.BatchNorm3d(4, momentum=1.0), nn.BatchNorm3d(4, momentum=1.0)
    normalise_and_drop(a, fast, 0.0)
    pytorch(a)
    exact = a.double().transpose(0, 1).flatten(1).var(1)
    assert error(fast.running_var, exact) < 1e-5 < 1e-4 < error(pytorch.running_var, exact)


def test_second_derivatives_and_single_values_per_channel_are_refused() -> None:
    a = channels_last(torch.randn(2, 3, 4, 4)).requires_grad_()
    output, _ = normalise_and_drop(a, nn.BatchNorm2d(3), 0.0)
    (gradient,) = torch.autograd.grad(output.square().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()
    with pytest.raises(ModelError, match="one value per channel"):
        normalise_and_drop(torch.randn(1, 3, 1, 1), nn.BatchNorm2d(3), 0.0)


def test_output_is_zero_and_not_nan_when_all_channels_are_dropped() -> None:
    output, _ = normalise_and_drop(channels_last(torch.randn(2, 3, 4, 4)), nn.BatchNorm2d(3), 1.0)
    assert torch.equal(output, torch.zeros(2, 3, 4, 4))


def test_activation_checkpointing_supports_a_second_backward_pass() -> None:
    model = network("unet", 2).train()
    model.save_memory = True
    loss = model(torch.randn(2, 2, *SIZES[2])).square().mean()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    loss.backward()
    for first, both in zip(once, (p.grad for p in model.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(both, 2 * first)
