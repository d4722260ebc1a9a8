"""Convolutions as PyTorch computes them on this machine, compared with float64 on a CPU.

Libraries have computed single shapes, layouts or precisions wrongly before (PyTorch's issues 163539, 163347 and 40275).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

ROUNDING = {"fp32": 2.0**-23, "tf32": 2.0**-10, "bf16": 2.0**-8, "fp16": 2.0**-10}
"""Relative rounding of one number; TF32 keeps ten bits of the inputs."""
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LARGEST = 33
"""Channels up to one more than the widths of a U-Net with f=32."""

Operation = Callable[[Tensor, Tensor, Tensor], Tensor]


class Kind(NamedTuple):
    """A kind of convolution of these networks: kernel, and the function of images, weights and bias."""

    kernel: tuple[int, ...]
    operation: Operation
    transposed: bool = False


KINDS = {
    "3D, kernel 3": Kind((3, 3, 3), lambda x, w, b: functional.conv3d(x, w, b, padding=1)),
    "3D, kernel 1": Kind((1, 1, 1), functional.conv3d),
    "3D, transposed": Kind((2, 2, 2), lambda x, w, b: functional.conv_transpose3d(x, w, b, stride=2), True),
    "2D, kernel 3": Kind((3, 3), lambda x, w, b: functional.conv2d(x, w, b, padding=1)),
    "2D, kernel 1": Kind((1, 1), functional.conv2d),
    "2D, transposed": Kind((2, 2), lambda x, w, b: functional.conv_transpose2d(x, w, b, stride=2), True),
}


def gradients(operation: Operation, tensors: list[Tensor], weights: Tensor) -> list[Tensor]:
    """Return the output, and the gradients with respect to images, weights and bias, for given output gradients."""
    leaves = [each.detach().requires_grad_() for each in tensors]
    output = operation(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, weights.to(output))]


def errors(kind: Kind, channels: tuple[int, int], device: str, size: int, precisions: list[str]) -> Iterator[str]:
    """Yield what deviates by more than rounding explains, for both layouts and some precisions.

    A result is a sum of products. Its error is compared with the sum of their magnitudes, which the same operation
    gives for magnitudes of all inputs.
    """
    generator = torch.Generator().manual_seed(channels[0] * 100 + channels[1])
    inputs, outputs = channels
    shape = (inputs, outputs) if kind.transposed else (outputs, inputs)
    space = (size, size - 2, size - 4)[: len(kind.kernel)]
    drawn = [(2, inputs, *space), (*shape, *kind.kernel), (outputs,)]
    exact = [torch.randn(each, generator=generator, dtype=torch.float64) for each in drawn]
    upstream = torch.randn(kind.operation(*exact).shape, generator=generator, dtype=torch.float64)
    magnitudes = gradients(kind.operation, [each.abs() for each in exact], upstream.abs())
    references: dict[torch.dtype, list[Tensor]] = {}
    for precision in precisions:
        dtype = TYPES[precision]
        if dtype not in references:  # from inputs that are rounded first
            rounded = [each.to(dtype).double() for each in exact]
            references[dtype] = gradients(kind.operation, rounded, upstream.to(dtype).double())
        expected = references[dtype]
        for layout in (torch.contiguous_format, last(len(space))):
            moved = [each.to(device, dtype) for each in exact]
            moved = [each.to(memory_format=layout) if each.ndim > 2 else each for each in moved]
            with tf32(precision == "tf32"):
                found = gradients(kind.operation, moved, upstream)
            names = ("output", "gradient of images", "gradient of weights", "gradient of bias")
            for name, own, right, magnitude in zip(names, found, expected, magnitudes, strict=True):
                worst = float(((own.cpu().double() - right).abs() / magnitude.clamp(min=1e-6)).max())
                if not worst <= 16 * ROUNDING[precision]:
                    yield f"{channels} channels, {precision}, {layout}, {name}: {worst:.2g}"


def last(dims: int) -> torch.memory_format:
    return torch.channels_last if dims == 2 else torch.channels_last_3d


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_on_a_cpu(kind: str) -> None:
    found = [
        error
        for channels in product((1, 4, 7), (1, 4, 7))
        for error in errors(KINDS[kind], channels, "cpu", 8, ["fp32", "bf16"])
    ]
    assert found == []


def test_a_wrong_convolution_is_found() -> None:
    """An operation that forgets the last tap of the kernel, in one layout only."""

    def wrong(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        keep = torch.ones(w.shape[2:], dtype=w.dtype)
        if x.dtype != torch.float64 and x.is_contiguous(memory_format=torch.channels_last):
            keep[-1, -1] = 0
        return functional.conv2d(x, w * keep, b, padding=1)

    found = list(errors(Kind((3, 3), wrong), (4, 5), "cpu", 8, ["fp32"]))
    assert found
    assert all("channels_last" in each for each in found)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_every_number_of_channels_on_a_gpu(kind: str) -> None:
    """Every number of inputs and of outputs, beside a few of the other: cuDNN takes a while for each new shape."""
    precisions = ["fp32", "tf32", "bf16", "fp16"]
    if not torch.cuda.is_bf16_supported():
        precisions.remove("bf16")
    channels, few = range(1, LARGEST + 1), (1, 4, 32)
    pairs = [pair for pair in product(channels, channels) if set(pair) & set(few)]
    assert [error for each in pairs for error in errors(KINDS[kind], each, "cuda", 6, precisions)] == []


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [(1, 4), (4, 4), (8, 4), (16, 8)])
def test_convolutions_at_the_size_of_images_on_a_gpu(channels: tuple[int, int]) -> None:
    assert list(errors(KINDS["3D, kernel 3"], channels, "cuda", 48, ["fp32", "tf32", "bf16", "fp16"])) == []
