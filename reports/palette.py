"""Colours and markers of strategies, the same in all figures and on the web pages."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = ("#555555", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8790A", "#56B4E9", "#8A8A00")
"""Okabe and Ito's colour-blind-safe palette; pale colours are darkened so that they are visible on white paper."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
"""Matplotlib's names of the markers."""
_FIXED = ("standard", "stamp", "stamp_plus", "prune_finetune", "flat", "pocket_unet", "random_largest", "flat (f=8)")
"""Strategies that have the same position, and so the same colour and marker, in every figure."""


def palette_positions(strategies: Iterable[str]) -> dict[str, int]:
    """Assign every strategy a position in the palette; the same set of strategies always gets the same positions.

    Returns:
        Position by strategy, sorted by position.
    """
    names = sorted(set(strategies))
    others = [name for name in names if name not in _FIXED]
    found = {name: _FIXED.index(name) if name in _FIXED else len(_FIXED) + others.index(name) for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1]))


def strategy_styles(strategies: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Assign every strategy a colour and a marker; both differ so that figures can be read when printed in grey.

    Returns:
        Colour and marker by strategy, sorted by position in the palette.
    """
    return {
        name: (COLOURS[position % len(COLOURS)], MARKERS[(position + position // len(COLOURS)) % len(MARKERS)])
        for name, position in palette_positions(strategies).items()
    }
