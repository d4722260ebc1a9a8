"""The module of `nnunet_reference`: MONAI's DynUNet, changed where nnU-Net's plain network differs."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks.dynunet_block import UnetBasicBlock
from monai.networks.nets import DynUNet
from torch import Tensor

_NORM = ("INSTANCE", {"affine": True})
_ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class PlainUNet(DynUNet):  # type: ignore[misc]
    """DynUNet with nnU-Net's kernels in the decoder, and with logits of the lower levels in their own sizes.

    Args:
        sizes: spatial dims, input channels and output channels.
        strides: strides of each level and axis.
        kernels: kernel sizes of each level and axis.
        filters: filters of each level.
        heads: number of levels below the full size that are trained on too.
    """

    def __init__(
        self,
        sizes: tuple[int, int, int],
        strides: Sequence[Sequence[int]],
        kernels: Sequence[Sequence[int]],
        filters: Sequence[int],
        heads: int,
    ) -> None:
        strides, kernels, filters = list(strides), list(kernels), list(filters)
        super().__init__(
            *sizes,
            kernel_size=kernels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            norm_name=_NORM,
            act_name=_ACTIVATION,
            deep_supervision=heads > 0,
            deep_supr_num=max(heads, 1),
            trans_bias=True,
        )
        for level, block in enumerate(reversed(self.upsamples)):
            width = filters[level]
            block.conv_block = UnetBasicBlock(
                sizes[0], 2 * width, width, kernel_size=kernels[level], stride=1, norm_name=_NORM, act_name=_ACTIVATION
            )
        del self.skip_layers  # further names of the same blocks, which would compute the heads in inference too
        self.apply(self.initialize_weights)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Return the logits; in training with deep supervision also those of lower levels, in their own sizes."""
        skips = [self.input_block(x)]
        for block in self.downsamples:
            skips.append(block(skips[-1]))
        decoded = [self.bottleneck(skips[-1])]
        for block, skip in zip(self.upsamples, reversed(skips), strict=True):
            decoded.append(block(decoded[-1], skip))
        logits: Tensor = self.output_block(decoded[-1])
        if not (self.training and self.deep_supervision):
            return logits
        lower = reversed(decoded[1:-1])
        return [logits, *(head(each) for head, each in zip(self.deep_supervision_heads, lower, strict=False))]
