"""The figure of retrained against pruned networks."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

Draw = Callable[..., Figure]
Records = dict[str, pd.DataFrame]


def test_retrained_networks_are_paired_by_width_with_pruned_ones(draw: Draw, records: Records) -> None:
    pruned, retrained = (line.get_xydata().tolist() for line in draw("retrained_against_pruned", records).axes[0].lines)
    assert (pruned, retrained) == ([[90, 0.8]], [[90, 0.6]])


def test_pruned_and_retrained_networks_of_a_fold_share_a_marker(draw: Draw, records: Records) -> None:
    runs = records["runs"]
    again = runs[runs["run"].isin(["r1", "r4"])].replace({"run": {"r1": "q1", "r4": "q4"}, "parents": {"r1": "q1"}})
    rows = records["trajectories"]
    copies = rows[rows["run"].isin(["r1", "r4"])].replace({"run": {"r1": "q1", "r4": "q4"}})
    both = {"runs": pd.concat([runs, again.assign(fold=1)]), "trajectories": pd.concat([rows, copies])}
    lines = draw("retrained_against_pruned", records | both).axes[0].lines
    assert [line.get_marker() for line in lines] == ["o", "o", "s", "s"]
