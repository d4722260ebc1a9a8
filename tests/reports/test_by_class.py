"""Scores by class, compared with scores of masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stampbench.reports.by_class import ALL, class_tables, with_overlap
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.table_formats import FORMATS

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
MASKS = arrays(bool, 12, elements=st.booleans())


@given(prediction=MASKS, reference=MASKS)
def test_sensitivity_and_precision_are_those_of_the_masks(prediction: np.ndarray, reference: np.ndarray) -> None:
    both, overlap = prediction.sum() + reference.sum(), int((prediction & reference).sum())
    row = {
        "dice": 2 * overlap / both if both else 1.0,
        "predicted_voxels": prediction.sum(),
        "reference_voxels": reference.sum(),
    }
    found = with_overlap(pd.DataFrame([row])).iloc[0]
    for name, mask in (("sensitivity", reference), ("precision", prediction)):
        expected = 1.0 if not both else overlap / mask.sum() if mask.any() else 0.0
        assert found[name] == pytest.approx(expected), name


def two_classes(frames: Frames) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return two strategies, tested on two cases with two classes; class `b` has half the Dice of class `a`."""
    runs, cases = frames(
        {"strategy": "standard", "dice": {"s": 0.8, "t": 0.6}}, {"strategy": "stamp", "dice": {"s": 0.9, "t": 0.7}}
    )
    first = cases.assign(**{"class": "a"})
    second = cases.assign(**{"class": "b"}, dice=cases["dice"] / 2)
    both = pd.concat([first, second], ignore_index=True)
    return runs, both.assign(reference_voxels=10, predicted_voxels=30)


def test_rows_are_means_by_strategy_and_class_in_the_order_of_the_leaderboard(frames: Frames) -> None:
    runs, cases = two_classes(frames)
    (table,) = class_tables(leaderboards(runs, cases), runs, cases)
    assert [*zip(table.rows["strategy"], table.rows["class"], strict=True)] == [
        ("stamp", "a"), ("stamp", "b"), ("stamp", ALL), ("standard", "a"), ("standard", "b"), ("standard", ALL),
    ]  # fmt: skip
    assert table.rows["dice"].tolist() == pytest.approx([0.8, 0.4, 0.6, 0.7, 0.35, 0.525])
    # 40 voxels in both masks: an overlap of 20 times Dice, of 10 labelled and of 30 predicted voxels.
    assert table.rows["precision"].tolist() == pytest.approx([each * 20 / 30 for each in table.rows["dice"]])
    assert table.rows["sensitivity"].iloc[1] == pytest.approx(0.4 * 20 / 10)


@pytest.mark.parametrize("style", FORMATS)
def test_every_format_has_all_rows(style: str, frames: Frames) -> None:
    runs, cases = two_classes(frames)
    tables = class_tables(leaderboards(runs, cases), runs, cases)
    text = FORMATS[style](tables, ())
    assert text.count(ALL) == 2
    assert "precision" in text
    assert "average Hausdorff" not in text


def test_published_tables_without_predicted_voxels_have_no_sensitivity(frames: Frames) -> None:
    runs, cases = two_classes(frames)
    cases = cases.drop(columns="predicted_voxels")
    (table,) = class_tables(leaderboards(runs, cases), runs, cases)
    assert table.rows[["sensitivity", "precision"]].isna().all(axis=None)
    assert "precision" not in FORMATS["md"]([table], ()).split("\n\n")[1]
