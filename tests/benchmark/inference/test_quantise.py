"""Quantised ONNX files, compared with integer arithmetic in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from stampbench.benchmark.environment.instructions import check_instructions
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.export import onnx_session
from stampbench.benchmark.inference.openvino_session import openvino_session
from stampbench.benchmark.inference.quantise import quantise

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

try:
    check_instructions("int8")
    EXACT = True
except UserError:  # products of 8-bit integers overflow there
    EXACT = False


def write_network(path: Path, spatial_dims: int) -> tuple[Any, Any, Any]:
    """Write a network of two convolutions, with kernel sizes 3 and 1; return weights and biases, and the second's."""
    rng = np.random.default_rng(0)
    kernel = (3,) * spatial_dims
    # Filters of very different sizes need scales of their own.
    weights = rng.normal(size=(3, 2, *kernel)) * np.array([0.01, 1.0, 30.0]).reshape(3, 1, *[1] * spatial_dims)
    biases, head = rng.normal(size=3) * [0.01, 1.0, 30.0], rng.normal(size=(2, 3))
    tensors = {"weights": weights, "biases": biases, "head": head.reshape(2, 3, *[1] * spatial_dims)}
    shape = ["n", "channels", *(f"size{axis}" for axis in range(spatial_dims))]
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "weights", "biases"], ["features"], "one", pads=[1] * 2 * spatial_dims),
            helper.make_node("Conv", ["features", "head"], ["logits"], "two"),
        ],
        "network",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("logits", kind, shape)],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return weights.astype(np.float32), biases.astype(np.float32), head.astype(np.float32)


def convolved(image: Any, weights: Any) -> Any:
    """Return the convolution of an image `(channels, *spatial)`, padded with zeros, in float64."""
    return np.stack(
        [
            sum(
                ndimage.correlate(plane.astype(float), kernel.astype(float), mode="constant")
                for plane, kernel in zip(image, each, strict=True)
            )
            for each in weights
        ]
    )


def steps(values: Any) -> tuple[float, int]:
    """Return the scale and the zero point of unsigned 8-bit activations `(images, channels, *spatial)`."""
    rows = values.reshape(len(values), -1)
    low, high = min(float(rows.min(1).mean()), 0.0), max(float(rows.max(1).mean()), 0.0)
    scale = (high - low) / 255
    return scale, round(-low / scale)


def quantised(values: Any, scale: float, zero: int) -> Any:
    return np.clip(np.rint(values / scale) + zero, 0, 255)


@pytest.mark.skipif(not EXACT, reason="the CPU has no exact arithmetic of 8-bit integers")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_logits_are_those_of_integer_arithmetic(spatial_dims: int, runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    path = tmp_path / "network.onnx"
    weights, biases, head = write_network(path, spatial_dims)
    rng = np.random.default_rng(1)
    seen = rng.normal(1.0, size=(4, 2, *(8,) * spatial_dims)).astype(np.float32)
    quantise(path, [seen[:3], seen[3:]])
    run = onnx_session(path, 1) if runtime == "onnxruntime" else openvino_session(path, "fp32", 1)
    image = rng.normal(1.0, 2.0, size=(1, 2, *(10,) * spatial_dims)).astype(np.float32)  # some values are clipped

    column = (slice(None), *[None] * spatial_dims)
    features = np.stack([convolved(each, weights) + biases[column] for each in seen])
    (scale, zero), (scale_out, zero_out) = steps(seen), steps(features)
    sizes = np.abs(weights).reshape(3, -1).max(1) / 127
    integers = np.rint(weights / sizes[(..., *[None] * (spatial_dims + 1))])
    assert np.abs(integers).max() == 127
    sums = convolved(quantised(image[0], scale, zero) - zero, integers) + np.rint(biases / (scale * sizes))[column]
    codes = quantised(sums * (scale * sizes)[column], scale_out, zero_out)
    expected = np.einsum("of,f...->o...", head.astype(float), (codes - zero_out) * scale_out)
    # A sum that lies between two codes may be rounded either way.
    found, step = run(image)[0], scale_out * np.abs(head).max()
    assert np.abs(found - expected).max() <= 1.001 * step
    assert (np.abs(found - expected) > 1e-3 * step).mean() < 0.02
    exact = np.einsum("of,f...->o...", head, convolved(image[0], weights) + biases[column])
    assert np.abs(found - exact).max() > 10 * np.abs(found - expected).mean()


def test_operations_become_integer_ones(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    write_network(path, 2)
    quantise(path, [np.ones((8, 2, 4, 4), np.float32)])
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} == set(kinds)
