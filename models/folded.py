"""Networks for inference whose batch normalisation is part of the convolutions' weights.

In evaluation mode, a convolution unit computes y = s·ReLU(z) + t of z = W∗x + c, with s = γ/√(v + ε) and t = β − m·s
(Ioffe and Szegedy 2015, §3.1). The normalisation follows the ReLU, so that it would have to be folded into the next
convolution, whose zero padding at the border is not a multiple of it. But s·ReLU(z) is max(s·z, 0) for s ≥ 0, and
min(s·z, 0) for s < 0, and therefore

    y = max(s·z + t, t) for s ≥ 0        y = min(s·z + t, t) for s < 0

where s·z + t is the same convolution with the weights s·W and the bias s·c + t. One pass over its output replaces two,
and since the result is y itself, borders, pooling, transposed convolutions and skips see no difference.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from stampbench.models.cpu_kernels import channels_last, clamp_channels, convolve
from stampbench.models.model import Model
from stampbench.models.unet import ConvUnit, UNet


class FoldedUnit(nn.Module):
    """A convolution unit in evaluation mode: one convolution, and bounds for each of its channels."""

    lowest: Tensor
    highest: Tensor

    def __init__(self, unit: ConvUnit) -> None:
        super().__init__()
        norm, self.conv = unit.norm, copy.deepcopy(unit.conv)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert self.conv.bias is not None
        with torch.no_grad():
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            shift = norm.bias - norm.running_mean * scale
            self.conv.weight.mul_(scale.view(-1, *[1] * (self.conv.weight.ndim - 1)))
            self.conv.bias.mul_(scale).add_(shift)
            rising, unbounded = scale >= 0, torch.full_like(shift, torch.inf)
            self.register_buffer("lowest", torch.where(rising, shift, -unbounded))
            self.register_buffer("highest", torch.where(rising, unbounded, shift))

    def forward(self, x: Tensor, fast: bool = False) -> Tensor:
        """Map `(N, in, *spatial)` to `(N, out, *spatial)`; with `fast`, use the fast CPU kernels."""
        if fast:
            return clamp_channels(channels_last(convolve(self.conv, x, fast)), self.lowest, self.highest)
        bounds = (each.view(-1, *[1] * (x.ndim - 2)) for each in (self.lowest, self.highest))
        return self.conv(x).clamp(*bounds)  # type: ignore[no-any-return]


def folded(model: Model) -> Model:
    """Return a copy of a network for inference on a CPU: faster, the same logits up to rounding, no gradients or hooks.

    U-Nets that are part of other networks, such as that of `swift_unet`, are folded, too.
    """
    network = copy.deepcopy(model).eval()
    for unet in network.modules():
        if isinstance(unet, UNet):
            for position in range(len(unet.units)):
                unet.units[position] = FoldedUnit(unet.unit(position))
    return network
