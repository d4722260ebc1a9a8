"""Registry of looks: the colour, marker and hatch of every strategy, the same in all figures and on the web pages.

Colours differ by family and can be told apart with normal vision, deuteranopia and protanopia (CIEDE2000 of at least
10); their contrast to the background is at least 3:1. Variants of a family differ in marker and hatch.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
"""Matplotlib's names of the markers."""
HATCHES = ("", "////", "\\\\\\\\", "xxxx", "....", "----", "||||", "++++", "oo", "**", "//..")
"""Matplotlib's names of the hatches."""
PAPER, NIGHT = "#FFFFFF", "#14181D"
"""Backgrounds of figures and light pages, and of dark pages."""
GREYS = ("#2B2B2B", "#5F5F5F", "#8C8C8C", "#5F5F5F", "#8C8C8C")
"""Colours of what are not strategies, such as backends; from the fourth on they need a hatch."""


class Family(NamedTuple):
    """Strategies that share a colour.

    Attributes:
        colour: colour on white.
        night: colour on a dark page.
        members: names of the strategies.
    """

    colour: str
    night: str
    members: tuple[str, ...]


class Look(NamedTuple):
    """How a strategy is drawn; `night` is the colour on a dark page."""

    colour: str
    night: str
    marker: str
    hatch: str


FAMILIES = (
    Family("#5D5B5D", "#A9A59D", ("standard", "standard_d", "standard_plus")),
    Family("#1173D3", "#8BC2FC", ("stamp", "stamp_d", "depgraph", "sauron")),
    Family("#B05204", "#E77215", ("stamp_plus",)),
    Family("#D26FA3", "#EC94C3", ("prune_finetune",)),
    Family("#1CA17B", "#57E1A5", ("random_largest", "random_stamp_layer", "random_uniform")),
    Family("#BE7F25", "#DAB466", ("flat", "distill", "width_at_init", "swift")),
    Family("#5D1DB5", "#9E85FA", ("pocket_unet", "pocket_resnet", "pocket_densenet")),
    Family("#7A7A4C", "#DADC09", ("full_unet", "full_resnet", "full_densenet")),
    Family("#7A0B16", "#E56569", ("retrain_scratch", "quantised")),
    Family("#29274E", "#74839B", ()),
)
"""All families; the last one is that of strategies from plug-ins."""
_SETTINGS = (
    "f=2", "f=8", "recovery_epochs=1", "recovery_epochs=2", "recovery_epochs=10", "recovery_epochs=20",
    "base_dropout=0.0", "base_dropout=0.4", "f=8, filters_per_step=48, select_parameters=30902",
    "select_parameters=30902", *(f"step={step}, budget=source" for step in (5, 10, 15, "selected")),
)  # fmt: skip
"""Settings of published variants, which therefore get different markers; the marker of others follows from a hash."""


def looks(strategies: Iterable[str]) -> dict[str, Look]:
    """Return the look of each strategy, sorted by family and variant.

    A look depends on the strategy's label only. Exception: if two labels of a family would look the same, the second
    in alphabetical order gets the next free marker.

    Args:
        strategies: labels of strategies such as `flat (f=8)`.
    """
    places: dict[str, tuple[int, int]] = {}
    for label in sorted(set(strategies)):
        family, first = _place(label)
        variants = [(first + step) % len(MARKERS) for step in range(len(MARKERS))]
        free = (each for each in variants if (family, each) not in places.values())
        places[label] = (family, next(free, first))
    return {
        label: Look(
            FAMILIES[family].colour,
            FAMILIES[family].night,
            MARKERS[(family + variant) % len(MARKERS)],
            HATCHES[variant],
        )
        for label, (family, variant) in sorted(places.items(), key=lambda item: (item[1], item[0]))
    }  # fmt: skip


def _place(label: str) -> tuple[int, int]:
    """Return the positions of a label's family and of its marker."""
    name, _, rest = label.partition(" (")
    settings = rest.removesuffix(")")
    family = next((number for number, each in enumerate(FAMILIES) if name in each.members), len(FAMILIES) - 1)
    members = FAMILIES[family].members
    first = members.index(name) if name in members else zlib.crc32(name.encode()) % len(MARKERS)
    if not settings:
        return family, first
    own = _SETTINGS.index(settings) if settings in _SETTINGS else zlib.crc32(settings.encode()) % 97
    after = max(len(members), 1)  # markers of members come first
    return family, after + (first + own) % (len(MARKERS) - after)
