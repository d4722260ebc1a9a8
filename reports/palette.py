"""What strategies look like in all figures and on pages: colours and shapes."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = ("#555555", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8790A", "#56B4E9", "#8A8A00")
"""Okabe and Ito's colours, which colour-blind readers can tell apart, moved towards grey where white paper needs it."""
_KNOWN = ("standard", "stamp", "stamp_plus", "prune_finetune", "flat", "pocket_unet", "random_largest", "flat (f=8)")
"""These look the same everywhere."""


def places(strategies: Iterable[str]) -> dict[str, int]:
    """A number for each strategy, by which colours and shapes are chosen; the same for the same strategies."""
    names = sorted(set(strategies))
    others = [name for name in names if name not in _KNOWN]
    found = {name: _KNOWN.index(name) if name in _KNOWN else len(_KNOWN) + others.index(name) for name in names}
    return dict(sorted(found.items(), key=lambda item: item[1]))
