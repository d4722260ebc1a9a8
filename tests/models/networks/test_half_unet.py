"""Half-UNet: its size, and its modules against their definition."""

from __future__ import annotations

import torch
from torch import nn

from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.models.networks.half_unet import Ghost, HalfUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture


def test_size() -> None:
    """Numbers of an implementation apart from this one; the paper's table could not be read."""
    found = count_complexity(TracedArchitecture.unpruned("half_unet", HalfUNet(), 2, 1, 1), (256, 256))
    assert found == (208_097, 4_537_139_200, 9_074_278_400)
    # 64 · (9 · 64) weights per convolution instead of 32 · (9 · 64) + 32 · 9, and no biases but the head's.
    plain = TracedArchitecture.unpruned("half_unet", HalfUNet(ghost=False), 2, 1, 1)
    assert count_complexity(plain, (256, 256)).parameters == 64 * 9 + 11 * 64 * 64 * 9 + 12 * 2 * 64 + 64 + 1


def test_a_ghost_module_adds_a_depthwise_convolution_of_its_first_half() -> None:
    torch.manual_seed(0)
    ghost, x = Ghost(2, 3, 6).eval(), torch.randn(2, 3, 8, 8)
    output = ghost(x)
    first = ghost.norm(ghost.conv(x)).relu()
    assert torch.equal(output[:, :3], first)
    for channel in range(3):
        kernel, bias = ghost.cheap.weight[channel : channel + 1], ghost.cheap.bias[channel : channel + 1]
        cheap = nn.functional.conv2d(first[:, channel : channel + 1], kernel, bias, padding=1).relu()
        assert torch.allclose(output[:, 3 + channel : 4 + channel], cheap, atol=1e-6)


def test_levels_are_added_at_full_resolution() -> None:
    """A constant image without padding effects: each level contributes its own constant."""
    torch.manual_seed(0)
    module = HalfUNet(f=4, depth=2).build(3, 1, 2).eval()
    seen = []
    module.fused.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        module(torch.ones(1, 1, 32, 32, 32))
        x, total = torch.ones(1, 1, 32, 32, 32), 0
        for number, level in enumerate(module.levels):
            x = level(nn.functional.max_pool3d(x, 2) if number else x)
            total = total + x[..., x.shape[-1] // 2, x.shape[-1] // 2, x.shape[-1] // 2]
    assert torch.allclose(seen[0][..., 15, 15, 15], total, atol=1e-5)
