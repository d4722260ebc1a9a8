"""Static quantisation of an ONNX file: 8-bit weights and activations, with ranges found on images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import NodeProto


def quantise(path: Path, images: Iterable[NDArray[np.float32]]) -> None:
    """Quantise an ONNX file in place: unsigned 8-bit activations, signed 8-bit weights with a scale per filter.

    The range of an activation is the mean over images of its smallest and of its largest value, so that rare extremes
    do not make all other values coarse. The file has pairs of
    quantisation and dequantisation (QDQ) around operations, which ONNX Runtime and OpenVINO fuse into integer
    operations. Normalisation and the last layer stay in fp32.

    Args:
        path: the file; its input is `image`.
        images: batches `(N, channels, *spatial)`; ranges are found on them, one image at a time.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    each = (image[None] for batch in images for image in batch)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(each, None)
            return None if image is None else {"image": image}

    model = onnx.load(path)
    add_pre_process_metadata(model)  # nothing is left to prepare: shapes are known, and nothing can be fused
    unfinished = path.with_name(f"{path.name}.int8")
    quantize_static(
        model,
        unfinished,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"CalibMovingAverage": True},
        nodes_to_exclude=[node.name for node in model.graph.node if _kept(node)],
    )
    unfinished.replace(path)


def _kept(node: NodeProto) -> bool:
    """Return whether a node stays in fp32: normalisation, which runtimes compute so anyway, and the last layer."""
    return "Normalization" in node.op_type or "logits" in node.output
