"""Post-processing of label maps."""

from __future__ import annotations

import numpy as np

from stampbench.benchmark.inference.label_maps import largest_components


def test_only_the_largest_component_of_each_class_is_kept() -> None:
    prediction = np.zeros((6, 8), np.uint8)
    prediction[0:2, 0:2] = 1
    prediction[2, 2] = 1  # touches the component only at a corner
    prediction[4, 0:3] = 2
    prediction[4, 5] = 2
    expected = prediction.copy()
    expected[2, 2] = expected[4, 5] = 0
    assert np.array_equal(largest_components(prediction), expected)
    assert not largest_components(np.zeros((4, 4, 4), np.uint8)).any()
