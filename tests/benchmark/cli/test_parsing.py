"""Parsing of option values."""

from __future__ import annotations

import pytest

from stampbench.benchmark.cli.parsing import parse_batches, parse_settings, parse_shape
from stampbench.benchmark.errors import UserError


def test_option_values_are_parsed_or_refused() -> None:
    assert parse_settings("--set", [" f = 8", "dropout=none"]) == {"f": "8", "dropout": "none"}
    for text in ("recovery_epochs", "=3"):
        with pytest.raises(UserError, match=f"--set takes key=value, not '{text}'"):
            parse_settings("--set", [text])
    assert parse_batches("1, auto,8") == [1, None, 8]
    with pytest.raises(UserError, match="--batch '0' is neither 1 to 1,000,000,000 images nor 'auto'"):
        parse_batches("1,0")
    assert parse_shape("48x64x48", 3) == (48, 64, 48)
    with pytest.raises(UserError, match="--shape '48,64': 3 numbers are expected"):
        parse_shape("48,64", 3)
    with pytest.raises(UserError, match="--shape 'x': not a size"):
        parse_shape("x", 3)
