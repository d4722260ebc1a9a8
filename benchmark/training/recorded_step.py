"""Training steps that are recorded once and then replayed.

A step of a small network is a few hundred short kernels, and a GPU waits for Python to launch them. A recording
launches them all at once. It holds everything but the images: addresses of weights and moments, the learning rate,
dropout probabilities. So it is made anew when one of them changes.

No step is spent on warming up: before a step is recorded, it is executed once, as a step of the training. Recording
itself computes nothing. Weights, statistics, moments and random draws are therefore those of executed steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from stampbench.benchmark.training.training_step import TrainingStep


class Recorder(Protocol):
    """Records what a function computes.

    Attributes:
        device: where it computes.
    """

    device: torch.device

    def prepare(self, action: Callable[[], Tensor]) -> Tensor:
        """Execute a function, so that another call of it can be recorded, and return its result."""
        ...

    def record(self, action: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record what a function would do to its tensors, without doing it, and return what does it.

        Raises:
            Exception: of any kind, when it cannot be recorded.
        """
        ...


class RecordedStep:
    """A training step that is replayed for full batches.

    Args:
        step: the step. It is executed for other batches, such as the last of an epoch.
        recorder: records it; None: it is always executed.
        batch: images of a full batch.
        fixed: returns everything besides weights and images that the step depends on, before each step.

    Attributes:
        failure: why it could not be recorded, after which it is executed; empty: nothing failed.
    """

    def __init__(self, step: TrainingStep, recorder: Recorder | None, batch: int, fixed: Callable[[], object]) -> None:
        self._step, self._recorder, self._batch, self._fixed = step, recorder, batch, fixed
        self.failure = ""
        self._key: object = None
        self._images: tuple[Tensor, Tensor] | None = None
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Train on one batch and return its loss, which the next call may overwrite."""
        recorder = self._recorder
        if recorder is None or len(pixels) != self._batch:
            return self._step(pixels, labels)
        key = (pixels.shape, self._fixed())
        if key != self._key:
            self._key, self._replay = key, None
            return recorder.prepare(lambda: self._step(pixels, labels))
        if self._replay is None and not self._record(recorder, pixels, labels):
            return self._step(pixels, labels)
        assert self._images is not None
        assert self._replay is not None
        for own, new in zip(self._images, (pixels, labels), strict=True):
            own.copy_(new)
        return self._replay()

    @contextmanager
    def executed(self) -> Iterator[None]:
        """Execute the steps inside the context, because Python has to see what they compute."""
        recorder, self._recorder = self._recorder, None
        try:
            yield
        finally:
            self._recorder = recorder

    def _record(self, recorder: Recorder, pixels: Tensor, labels: Tensor) -> bool:
        own = tuple(each.to(recorder.device, copy=True) for each in (pixels, labels))
        self._step.optimiser.zero_grad(set_to_none=True)  # so that the recording allocates its own gradients
        try:
            with _capturable(self._step.optimiser):
                self._replay = recorder.record(lambda: self._step(own[0], own[1]))
        except Exception as error:  # of the driver, for whatever a network does that cannot be recorded
            self._recorder = None
            first = error.__context__ or error  # the end of a recording that has failed raises an error, too
            self.failure = f"{type(first).__name__}: {' '.join(str(first).split())[:200]}"
            return False
        self._images = (own[0], own[1])
        return True


@contextmanager
def _capturable(optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Declare that an optimiser may be recorded.

    It changes nothing for fused optimisers, whose state is on the device. It is not declared for good, because
    PyTorch warns of steps that are executed then, and resume states would hold it.
    """
    groups = [group for group in optimiser.param_groups if "capturable" in group]
    before = [group["capturable"] for group in groups]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, value in zip(groups, before, strict=True):
            group["capturable"] = value
