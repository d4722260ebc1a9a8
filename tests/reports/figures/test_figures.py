"""Every figure of the registry, and the errors when there is nothing to draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from stampbench.reports.figures import FIGURES
from stampbench.reports.figures.style import NothingToDrawError, save

Frames = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
Trajectory = Callable[..., pd.DataFrame]
Draw = Callable[..., Figure]
Records = dict[str, pd.DataFrame]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_as_svg_and_png(
    draw: Draw, name: str, records: Records, repeated_records: Records, tmp_path: Path
) -> None:
    written = save(draw(name, repeated_records if name == "stability" else records), tmp_path / name)
    assert [path.suffix for path in written] == [".svg", ".png"]
    pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert (pixels < 200).mean() > 0.005, "the figure is almost empty"
    assert b"</svg>" in (tmp_path / f"{name}.svg").read_bytes()[-200:]


@pytest.mark.parametrize("name", FIGURES)
def test_figure_without_records_is_refused(draw: Draw, name: str, records: Records) -> None:
    nothing = {key: table.iloc[:0] for key, table in records.items()}
    with pytest.raises(NothingToDrawError):
        draw(name, nothing)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_of_one_run_with_one_case_is_drawn_or_refused(
    draw: Draw, name: str, frames: Frames, trajectory: Trajectory
) -> None:
    runs, cases = frames({"strategy": "standard", "dice": {"a": 0.8}})
    one = {"runs": runs, "cases": cases, "trajectories": trajectory("r0", (900, 0.85, "4 8 4"))}
    try:
        drawn = draw(name, one | {"timings": pd.DataFrame()})
    except NothingToDrawError:
        assert name not in ("dice_by_training_size", "dice_by_epochs", "pareto")
    else:
        assert drawn.axes[0].has_data()
