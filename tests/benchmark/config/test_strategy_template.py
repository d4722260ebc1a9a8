"""Files of a new strategy; that they work is tested with the plug-ins of strategies."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.config.strategy_template import write_strategy
from stampbench.benchmark.errors import UserError


def test_planted_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "elsewhere"
    (tmp_path / "my_idea.py").symlink_to(victim)
    file, test = write_strategy("my_idea", tmp_path)
    assert not victim.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, test.name]


@pytest.mark.parametrize("name", ["torch", "json"])
def test_a_name_that_would_hide_a_python_module_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"strategy name '{name}' is that of a Python module"):
        write_strategy(name, tmp_path)
    assert not list(tmp_path.iterdir())
