"""Figures of Dice, parameters and latency."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from stampbench.reports.looks import FAMILIES

Draw = Callable[..., Figure]
Records = dict[str, pd.DataFrame]


def test_pareto_names_the_backend_when_standard_has_a_variant_label(draw: Draw, records: Records) -> None:
    runs = (
        records["runs"]
        .replace({"strategy": {"standard": "standard (f=2, depth=1)"}})
        .assign(name=lambda each: each["name"].where(~each["strategy"].str.startswith("standard"), "standard"))
    )
    assert draw("pareto", records | {"runs": runs}).axes[1].get_xlabel() == "latency relative to standard (onnxruntime)"


@pytest.mark.parametrize("name", ["latency_by_backend", "latency_vs_parameters", "pareto"])
def test_intervals_of_latency_are_drawn(draw: Draw, name: str, records: Records) -> None:
    times = records["timings"]
    with_intervals = times.assign(ratio_low=times["ratio"] - 1, ratio_high=times["ratio"] + 1)
    axes = draw(name, records | {"timings": with_intervals}).axes[-1]
    bars = [each for each in axes.containers if isinstance(each, ErrorbarContainer)]
    along = 0 if name != "latency_vs_parameters" else 1
    lengths = [
        np.ptp(segment[:, along])
        for each in bars
        for lines in each[2]
        for segment in lines.get_segments()
        if np.ptp(segment[:, along]) > 0
    ]
    ends = {"latency_by_backend": 4}.get(name, 2)
    assert len(lengths) == ends, "two strategies, and two backends"
    assert max(lengths) == pytest.approx(2 / 4), "3 ± 1 over 4, the time of the standard network"


def test_backends_have_no_colour_of_a_strategy(draw: Draw, records: Records) -> None:
    axes = draw("latency_by_backend", records).axes[0]
    colours = {to_hex(bar.get_facecolor()).upper() for bar in axes.patches}
    assert colours & {family.colour for family in FAMILIES} == set()
