"""Peak memory of a network's tensors, counted without allocating them, or measured by the allocator of a GPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from stampbench.models.model import Architecture, Model, build

_MOMENT_BYTES = 4
"""A moment is a float32 per parameter."""


def inference_memory(architecture: Architecture, size: tuple[int, ...], batch: int = 1) -> int:
    """Return the peak bytes of live float32 tensors, weights included, when a batch is inferred.

    Workspaces of convolution libraries and the program itself are not counted.

    Args:
        architecture: the network.
        size: spatial size of an image.
        batch: images in the batch.
    """
    model, image = _on_meta_device(architecture, size, batch)

    def infer() -> None:
        with torch.no_grad():
            model.eval()(image)

    return _bytes(model) + image.nbytes + _peak(infer)


def training_memory(architecture: Architecture, size: tuple[int, ...], batch: int, moments: int = 2) -> int:
    """Return the same for a training step: with activations, gradients and the optimiser's moments.

    Tensors are float32, and the loss's own tensors are not counted; activation checkpointing and half precision need
    less.

    Args:
        architecture: the network.
        size: spatial size of an image.
        batch: images in the batch.
        moments: moments of the optimiser per parameter: two of Adam, one of SGD.
    """
    model, images = _on_meta_device(architecture, size, batch)

    def step() -> None:
        output = model.train()(images)
        heads = output if isinstance(output, list) else [output]  # deep supervision
        torch.stack([each.sum() for each in heads]).sum().backward()  # type: ignore[no-untyped-call]

    kept = sum(moments * _MOMENT_BYTES * each.numel() for each in model.parameters())
    return _bytes(model) + images.nbytes + kept + _peak(step)


def allocated_peak(call: Callable[[], object], device: torch.device, kept: int) -> int | None:
    """Return the peak bytes that PyTorch's CUDA allocator holds during a call, workspaces of cuDNN included.

    Args:
        call: the computation; it is called twice, because libraries allocate what they keep in the first call.
        device: where it computes.
        kept: bytes that the computation needs and that were allocated before, such as weights.

    Returns:
        The bytes, or None on a device without this allocator.
    """
    if device.type != "cuda":
        return None
    call()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    torch.cuda.synchronize(device)
    return kept + torch.cuda.max_memory_allocated(device) - before


def _on_meta_device(architecture: Architecture, size: tuple[int, ...], batch: int) -> tuple[Model, Tensor]:
    with torch.device("meta"):
        return build(architecture), torch.empty(batch, architecture.in_channels, *size)


def _bytes(model: Model) -> int:
    return sum(each.nbytes for each in model.state_dict().values())


def _peak(work: Callable[[], None]) -> int:
    storages = _LiveStorages()  # type: ignore[no-untyped-call]
    with storages:
        work()
    return int(storages.peak)


class _LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums the sizes of storages that operations allocate, and subtracts them when they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.peak = 0, 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        inputs = {each.untyped_storage()._cdata for each in tree_iter((args, kwargs)) if isinstance(each, Tensor)}
        for each in tree_iter(outputs):
            if isinstance(each, Tensor) and each.untyped_storage()._cdata not in inputs:
                self._add(each.untyped_storage())
        return outputs

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def freed(_: object) -> None:
            self.now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is used up; on a CPU and in ONNX Runtime only its text does."""
    texts = ("can't allocate memory", "Failed to allocate memory", "Storage size calculation overflowed")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(each in str(error) for each in texts)
