"""The command `stampbench list`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("strategies", ["standard", "stamp", "stamp_plus"]),
        ("protocols", ["paper", "quick"]),
    ],
)
def test_list_prints_registered_names(stampbench: Command, what: str, names: list[str]) -> None:
    code, out, _ = stampbench("list", what)
    assert code == 0
    assert set(names) <= {line.split("|")[1].strip() for line in out.splitlines()}


def test_only_networks_have_sizes(stampbench: Command) -> None:
    code, _, err = stampbench("list", "strategies", "--sizes")
    assert code == 2
    assert "only networks have sizes; run 'stampbench list networks --sizes'" in err
