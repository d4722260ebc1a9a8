"""Times of named parts, with a clock that is set by hand."""

from __future__ import annotations

import pytest

from stampbench.benchmark.environment.part_times import PartTimes


def test_parts_add_up_in_the_order_of_their_first_use_also_where_one_fails() -> None:
    times = PartTimes(iter([0.0, 1.0, 1.0, 4.0, 10.0, 12.0]).__next__)
    for name in ("reading", "network"):
        with times.part(name):
            pass
    with pytest.raises(OSError, match="gone"), times.part("reading"):
        raise OSError("gone")
    assert times.seconds == {"reading": 3.0, "network": 3.0}
    lines = times.table().splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["reading", "3.00", "s", "50%"],
        ["network", "3.00", "s", "50%"],
        ["all", "6.00", "s", "100%"],
    ]


def test_a_table_of_nothing() -> None:
    assert PartTimes().table().splitlines()[-1].split() == ["all", "0.00", "s", "0%"]
