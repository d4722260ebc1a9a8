"""Decisions of leaderboards: corrected for the rows, as those of a comparison are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stampbench.reports.comparison import compare, corrected
from stampbench.reports.leaderboard import leaderboards

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
GAINS = {"standard": 0.0, "a": 0.03, "b": -0.02, "c": 0.001, "d": 0.02, "e": -0.016, "f": 0.004}
OPPOSITE = {"better": "worse", "worse": "better"}


def runs_of(strategy: str, gain: float, **columns: Any) -> list[Any]:
    noise = np.random.default_rng(sum(map(ord, strategy))).normal(0, 0.02, (6, 10))
    scores = [{f"s{case}": 0.7 + gain + float(each) for case, each in enumerate(row)} for row in noise]
    return [{"strategy": strategy, "seed": seed, "dice": dice, **columns} for seed, dice in enumerate(scores)]


def test_a_leaderboard_decides_as_a_comparison_of_all_of_its_rows(frames: Frames) -> None:
    runs, cases = frames(*(run for name, gain in GAINS.items() for run in runs_of(name, gain)))
    (board,) = leaderboards(runs, cases)
    of = dict(iter(runs.groupby("strategy")))
    compared = [compare(of["standard"], of[name], cases)[0] for name in GAINS if name != "standard"]
    wanted = {
        each.second: (p, OPPOSITE.get(word, word))
        for each, (p, word) in zip(compared, corrected(compared), strict=True)
    }
    rows = board.rows[board.rows["strategy"] != "standard"].set_index("strategy")
    assert {name: (row["p_holm"], row["decision"]) for name, row in rows.iterrows()} == {
        name: (pytest.approx(p), word) for name, (p, word) in wanted.items()
    }
    uncorrected = rows[(rows["p"] < 0.05) & (rows["p_holm"] >= 0.05)]
    assert len(uncorrected), "without a correction, the decisions would be others"


def test_networks_in_low_precision_are_corrected_among_themselves(frames: Frames) -> None:
    plain = [run for name, gain in GAINS.items() for run in runs_of(name, gain)]
    copies = [run for name in ("g", "h", "i") for run in runs_of(name, 0.01, name="quantised")]
    (alone,), (together,) = leaderboards(*frames(*plain)), leaderboards(*frames(*plain, *copies))
    before, after = (board.rows.set_index("strategy") for board in (alone, together))
    assert dict(after.loc[before.index, "p_holm"].dropna()) == dict(before["p_holm"].dropna())
    own = after.loc[["g", "h", "i"]]
    assert own["p_holm"].min() == pytest.approx(3 * own["p"].min())
