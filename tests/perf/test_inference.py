"""Speed of forward passes, validation, ranking, pruning and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from stampbench.benchmark.config.resolve import resolve_protocol
from stampbench.benchmark.inference.label_maps import class_map
from stampbench.benchmark.measure import masks
from stampbench.benchmark.measure.masks import score_masks
from stampbench.benchmark.training.fold_data import Images
from stampbench.benchmark.training.losses import make_loss
from stampbench.benchmark.training.optimiser import carry_moments, new_optimiser
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.benchmark.training.training_step import TrainingStep
from stampbench.benchmark.training.validation import validate
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.folded import folded
from stampbench.models.model import build
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs, gather_norms

VOLUME = (48, 64, 48)
BATCH = 8


@pytest.fixture
def images() -> Images:
    torch.manual_seed(0)
    return Images(torch.randn(16, 1, *VOLUME), torch.randint(3, (16, *VOLUME), dtype=torch.uint8), torch.arange(16))


def fast_unet(spatial_dims: int = 3, f: int = 4) -> UNet:
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(spatial_dims, 1, 3, f=f), "fast")
    assert isinstance(model, UNet)
    return model


def loss_of(name: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    loss = make_loss(name)
    return lambda logits, labels: loss(logits, labels.long().unsqueeze(1))


@pytest.mark.parametrize("spatial_dims", [3, 2])
def test_inference_of_one_image(spatial_dims: int, time_interleaved: Any, report: Any) -> None:
    """As `stampbench predict` computes, and as validation does: with fast kernels, but without folded weights."""
    model = fast_unet(spatial_dims).eval()
    plain = build(model.architecture).eval()
    plain.load_state_dict(model.state_dict())
    image = torch.randn(1, 1, *(VOLUME if spatial_dims == 3 else (320, 320)))
    networks = {"folded": folded(model), "fast": model, "plain": plain}
    outputs = {}

    def variant(name: str) -> Callable[[], float]:
        def forward() -> float:
            with torch.inference_mode():
                networks[name](image)
                started = time.perf_counter()
                for _ in range(5):
                    outputs[name] = networks[name](image)
                return time.perf_counter() - started

        return forward

    times = time_interleaved({name: variant(name) for name in networks}, 11)
    torch.testing.assert_close(outputs["folded"], outputs["plain"], rtol=1e-4, atol=1e-5)
    goal = {"at_least": 3.5} if spatial_dims == 3 else {}
    report(f"inference of one image, {spatial_dims}D f=4: × plain eager", times.ratio("folded", "plain"), **goal,
           detail=times.spread("folded", "plain"))  # fmt: skip
    report(f"inference of one image, {spatial_dims}D f=4: × weights that are not folded", times.ratio("folded", "fast"),
           detail=times.spread("folded", "fast"))  # fmt: skip


@pytest.mark.parametrize("loss", ["dice", "dice_ce"])
def test_validation(loss: str, images: Images, time_interleaved: Any, report: Any) -> None:
    model = fast_unet()

    def forward() -> None:
        model.eval()
        with torch.inference_mode():
            for batch in images.batches(BATCH):
                model(batch.pixels)

    def validation() -> None:
        validate(model, images, 3, loss_of(loss), BATCH)

    times = time_interleaved({"forward": forward, "validation": validation}, 11)
    goal = {"at_most": 1.1} if loss == "dice" else {}
    report(f"validation with Dice, loss {loss}: × forward pass", times.ratio("forward", "validation"), **goal,
           detail=times.spread("forward", "validation"))  # fmt: skip


def test_ranking(images: Images, time_interleaved: Any, report: Any) -> None:
    model, loss = fast_unet(), loss_of("dice_ce")
    adam = torch.optim.Adam(model.parameters(), fused=True)
    rng = np.random.default_rng(0)

    def epoch() -> None:
        model.train()
        shuffled = (images.take(part) for part in torch.randperm(16).split(BATCH))
        step = TrainingStep(adam, lambda x, y: loss(model(x), y))
        train_epoch(step, ((each.pixels, each.labels) for each in shuffled))

    def rank(importance: str) -> Callable[[], None]:
        batches = [(batch.pixels, batch.labels) for batch in images.batches(BATCH)]
        return lambda: discard(IMPORTANCES[importance].score(ImportanceInputs(model, batches, loss, rng)))

    def gather() -> float:
        """Return the seconds that gathering norms adds to an epoch, measured around the calls that gather them."""
        seconds = 0.0
        with gather_norms(model) as norms:
            for unit in model.units:
                if (gather_squares := unit.see_squares) is not None:

                    def timed(squares: torch.Tensor, gather_squares: Any = gather_squares) -> None:
                        nonlocal seconds
                        started = time.perf_counter()
                        gather_squares(squares)
                        seconds += time.perf_counter() - started

                    unit.see_squares = timed
            epoch()
            started = time.perf_counter()
            for each in norms.values():
                torch.cat(each).mean(0).tolist()
            return seconds + time.perf_counter() - started

    times = time_interleaved({"epoch": epoch, "l2": rank("l2"), "weights": rank("weight_l2"), "gather": gather}, 9)
    report("ranking pass: share of a fast epoch", times.ratio("epoch", "l2"), at_most=0.3,
           detail=times.spread("epoch", "l2"))  # fmt: skip
    report("ranking by norms gathered in training: share of a fast epoch", times.ratio("epoch", "gather"),
           at_most=0.02, detail=times.spread("epoch", "gather"))  # fmt: skip
    report("ranking by weights: share of a fast epoch", times.ratio("epoch", "weights"),
           detail=times.spread("epoch", "weights"))  # fmt: skip


@pytest.mark.parametrize(("f", "goal"), [(4, 5.0), (32, 30.0)])
def test_removing_a_filter(f: int, goal: float, time_interleaved: Any, report: Any) -> None:
    model, protocol = fast_unet(f=f), resolve_protocol("paper", {})
    optimiser, _ = new_optimiser(model, protocol, fused=True)
    model(torch.randn(2, 1, 16, 16, 16)).sum().backward()
    optimiser.step()

    def remove() -> None:
        nonlocal optimiser
        layer = max(model.architecture.layers, key=lambda name: model.architecture.layers[name])
        cuts = remove_filters(model, [Filter(layer, 0)])
        new, _ = new_optimiser(model, protocol, fused=True)
        carry_moments(optimiser, new, model, cuts)
        optimiser = new

    times = time_interleaved({"remove": remove}, 20)
    milliseconds = [1000 * each for each in times.seconds["remove"]]
    report(f"removing a filter, optimiser included, 3D f={f}: milliseconds", float(np.median(milliseconds)),
           at_most=goal, detail=f"{min(milliseconds):.2f} to {max(milliseconds):.2f} in 20")  # fmt: skip


def test_distances_in_threads(time_interleaved: Any, report: Any) -> None:
    """Eight cases of 160³ voxels with balls are scored as in an evaluation."""
    balls = two_balls()

    def score(_: int) -> None:
        score_masks(*balls, (1.0, 1.0, 2.0))

    def in_threads() -> None:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(score, range(8)))

    times = time_interleaved({"threads": in_threads, "one by one": lambda: discard([score(n) for n in range(8)])})
    report("distances of eight cases of 160³, in threads: × one by one", times.ratio("threads", "one by one"),
           detail=times.spread("threads", "one by one"))  # fmt: skip


def test_distances_of_noise(time_interleaved: Any, report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction of an untrained network: its surface is everywhere."""
    noise = np.random.default_rng(0).random((256, 256, 50)) < 0.5
    ball = np.zeros_like(noise)
    ball[100:160, 90:180, 10:35] = True

    def score(many: int) -> None:
        monkeypatch.setattr(masks, "_MANY_VOXELS", many)
        score_masks(noise, ball, (0.7, 0.7, 3.0))

    times = time_interleaved({"transform": lambda: score(0), "tree": lambda: score(noise.size)}, 5)
    report("metrics of noise on 256×256×50: × by a tree alone", times.ratio("transform", "tree"), at_least=3,
           detail=times.spread("transform", "tree"))  # fmt: skip


def test_metrics_of_a_case(time_interleaved: Any, report: Any) -> None:
    """MONAI's functions give the same numbers (tests/benchmark/measure/test_masks.py)."""
    balls = two_balls()
    tensors = [torch.from_numpy(ball)[None, None].float() for ball in balls]
    common: dict[str, Any] = {"include_background": True, "spacing": [1.0, 1.0, 2.0]}

    def monai() -> None:
        compute_dice(*tensors)
        compute_hausdorff_distance(*tensors, **common)
        compute_hausdorff_distance(*tensors, percentile=95, **common)
        compute_average_surface_distance(*tensors, symmetric=True, **common)
        compute_surface_dice(*tensors, class_thresholds=[1.0], **common)

    def monai_hd95() -> None:
        compute_hausdorff_distance(*tensors, percentile=95, **common)

    variants = {
        "package": lambda: discard(score_masks(*balls, (1.0, 1.0, 2.0))),
        "MONAI": monai,
        "MONAI's HD95": monai_hd95,
    }
    times = time_interleaved(variants)
    report("all metrics of a mask of 160³: × MONAI's, the same ones", times.ratio("package", "MONAI"), at_least=5.0,
           detail=times.spread("package", "MONAI"))  # fmt: skip
    report("all metrics of a mask of 160³: × MONAI's HD95 alone", times.ratio("package", "MONAI's HD95"),
           detail=times.spread("package", "MONAI's HD95"))  # fmt: skip


def two_balls() -> list[np.ndarray]:
    grid = np.indices((160, 160, 160)) - 80
    return [(grid**2).sum(0) < radius**2 for radius in (40, 44)]


def test_class_map(time_interleaved: Any, report: Any) -> None:
    logits = torch.randn(BATCH, 3, *VOLUME)
    assert torch.equal(class_map(logits), logits.argmax(1))
    times = time_interleaved(
        {"package": lambda: discard(class_map(logits)), "argmax": lambda: discard(logits.argmax(1))}
    )
    report("class of every voxel, 3 classes: × torch.argmax", times.ratio("package", "argmax"),
           detail=times.spread("package", "argmax"))  # fmt: skip


def discard(_: object) -> None:
    """Return None, so that a result is not taken for the seconds of a variant."""
