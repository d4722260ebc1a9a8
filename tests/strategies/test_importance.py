"""Importance scores, compared with direct computations of the equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.unet import UNet
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs, Scores
from stampbench.strategies.ranking import Ranking


def randomised_unet(dims: int) -> UNet:
    """Return a U-Net with random BatchNorm values and without a layer whose filters are all dead."""
    torch.manual_seed(3)
    model = UNet(UNetArchitecture.doubling(dims, 1, 2, f=2, depth=2))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.running_mean)
    for unit in model.units:
        nn.init.uniform_(unit.conv.bias, 0, 0.5)
    return model


def scores(name: str, model: UNet, images: torch.Tensor, batch: int = 2) -> Scores:
    """Return the scores of an importance in `IMPORTANCES`; labels mark the pixels above zero."""
    labels = (images[:, 0] > 0).long()
    batches = list(zip(images.split(batch), labels.split(batch), strict=True))
    return IMPORTANCES[name].score(
        ImportanceInputs(model, batches, nn.functional.cross_entropy, np.random.default_rng(0))
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_l2_ranking_follows_equations_1_to_3(dims: int) -> None:
    """The expected ranking is computed image by image and layer by layer with PyTorch functions only."""
    model = randomised_unet(dims).eval()
    images = torch.randn(5, 1, *(8,) * dims)
    conv = nn.functional.conv2d if dims == 2 else nn.functional.conv3d
    pool = nn.functional.max_pool2d if dims == 2 else nn.functional.max_pool3d
    upsample = nn.functional.conv_transpose2d if dims == 2 else nn.functional.conv_transpose3d
    theta: dict[int, list[float]] = {}
    with torch.no_grad():
        for image in images:
            x, skips = image[None], []
            for position in range(1, 11):
                if position in (3, 5):
                    skips.append(x)
                    x = pool(x, 2)
                if position in (7, 9):
                    up = model.upconvs[(position - 7) // 2]
                    x = torch.cat([upsample(x, up.weight, up.bias, stride=2), skips.pop()], 1)
                unit = model.units[position - 1]
                z = torch.relu(conv(x, unit.conv.weight, unit.conv.bias, padding=1))  # eq. 1
                norms = [math.sqrt(float((z[0, k].double() ** 2).sum())) for k in range(z.shape[1])]
                before = theta.setdefault(position, [0.0] * len(norms))
                theta[position] = [a + b / len(images) for a, b in zip(before, norms, strict=True)]  # eq. 2
                n = unit.norm
                view = (1, -1, *(1,) * dims)
                x = (z - n.running_mean.view(view)) / (n.running_var.view(view) + n.eps).sqrt()
                x = x * n.weight.view(view) + n.bias.view(view)
    normalised = {
        (position, k): value / math.sqrt(sum(other**2 for other in values))  # eq. 3
        for position, values in theta.items()
        if position <= 9
        for k, value in enumerate(values)
    }
    ranking = Ranking(scores("l2", model, images))
    expected = [(f"conv{position}", k) for position, k in sorted(normalised, key=lambda key: normalised[key])]
    assert [(layer, index) for layer, index, _ in ranking.ascending()] == expected
    first = ranking.lowest(1)[0]
    assert first[:2] == expected[0]
    assert first.score == pytest.approx(min(normalised.values()), rel=1e-4)


def test_scores_do_not_depend_on_batches_mode_or_dropout() -> None:
    model = randomised_unet(2)
    images = torch.randn(5, 1, 16, 16)
    single_batch = scores("l1", model.eval(), images, batch=5)
    model.train().set_dropout(dict.fromkeys(model.architecture.layers, 0.5))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    small_batches = scores("l1", model, images)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    for layer, values in single_batch.items():
        assert small_batches[layer] == pytest.approx(values, rel=1e-5)


def test_l1_std_is_the_standard_deviation_of_the_l1_norm_over_images() -> None:
    model, images = randomised_unet(2).eval(), torch.randn(5, 1, 16, 16)
    first = model.layer("conv1")
    with torch.no_grad():
        norms = torch.relu(first.conv(images)).double().flatten(2).sum(2)
    assert scores("l1_std", model, images)["conv1"] == pytest.approx(norms.numpy().std(0).tolist(), rel=1e-4)


def loss_with_scaled_filter(
    model: UNet, layer: str, filter: int, factor: float, images: torch.Tensor, labels: torch.Tensor
) -> tuple[float, int]:
    """Return the loss when one filter's activations are multiplied by `factor`, and their number."""
    sizes = []

    def scale(_module: object, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        sizes.append(output[:, filter].numel())
        factors = torch.ones_like(output)
        factors[:, filter] = factor
        return output * factors

    hook = model.activations()[layer].register_forward_hook(scale)
    loss = float(nn.functional.cross_entropy(model(images), labels).detach())
    hook.remove()
    return loss, sizes[0]


def test_taylor_is_activation_times_gradient_summed_before_the_absolute_value() -> None:
    """The reference is a numerical derivative: scaling a filter by 1 + e changes the loss by e · Σ a · g."""
    model, images = randomised_unet(2).double().eval(), torch.randn(4, 1, 16, 16, dtype=torch.float64)
    labels = (images[:, 0] > 0).long()
    found = scores("taylor", model, images)
    for layer, filter in (("conv1", 1), ("conv5", 3), ("conv9", 0)):
        total = 0.0
        for part in (slice(0, 2), slice(2, 4)):
            above, size = loss_with_scaled_filter(model, layer, filter, 1 + 1e-5, images[part], labels[part])
            below, _ = loss_with_scaled_filter(model, layer, filter, 1 - 1e-5, images[part], labels[part])
            total += (above - below) / 2e-5 / size
        assert found[layer][filter] == pytest.approx(abs(total), rel=1e-4, abs=1e-12)


def test_weight_l2_is_the_norm_of_the_kernel() -> None:
    model = UNet(UNetArchitecture.doubling(2, 1, 2, f=2, depth=1, prune_upconvs=True))
    found = scores("weight_l2", model, torch.randn(1, 1, 8, 8))
    kernel = model.layer("conv3").conv.weight[2]
    assert found["conv3"][2] == pytest.approx(math.sqrt(float(kernel.detach().square().sum())), rel=1e-6)
    kernel = model.upconv(0).weight[:, 1]
    assert found["up1"][1] == pytest.approx(math.sqrt(float(kernel.detach().square().sum())), rel=1e-6)


def test_random_scores_cover_all_filters_and_are_reproducible() -> None:
    model = UNet(UNetArchitecture.doubling(2, 1, 2, f=2, depth=1))
    once = scores("random", model, torch.randn(1, 1, 8, 8))
    assert once == scores("random", model, torch.randn(1, 1, 8, 8))
    assert [len(values) for values in once.values()] == list(model.architecture.layers.values())


def test_only_scores_that_use_all_images_are_charged_for_a_pass() -> None:
    assert [name for name, importance in IMPORTANCES.items() if not importance.passes] == [
        "l2_gathered",
        "weight_l2",
        "group_l2",
        "group_l2_layerwise",
        "random",
    ]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["l2", "l1", "l1_std", "taylor", "weight_l2", "group_l2"])
def test_scores_do_not_depend_on_the_kernels(name: str, dims: int, batch: int) -> None:
    """With five images and batches of two, the last batch contains one image."""
    model = randomised_unet(dims)
    model.architecture = model.architecture.model_copy(update={"prune_upconvs": True})
    images = torch.randn(5, 1, *(8,) * dims)
    plain = scores(name, model, images, batch)
    model.kernels = "fast"
    fast = scores(name, model, images, batch)
    assert "up1" in plain
    # The standard deviation of nearly equal sums is only as accurate as the rounding of the sums.
    tolerance = 1e-4 if name == "l1_std" else 1e-6
    for layer, values in plain.items():
        assert fast[layer] == pytest.approx(values, rel=1e-3, abs=tolerance)
