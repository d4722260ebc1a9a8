"""Looks of strategies: colours that colour-blind readers can tell apart, and the same look everywhere."""

from __future__ import annotations

import csv
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stampbench.reports.looks import FAMILIES, NIGHT, PAPER, looks
from stampbench.strategies.registry import STRATEGIES

Floats = NDArray[np.float64]
VISION = {
    "normal": np.eye(3),
    # Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> Floats:
    """Return linear RGB of a colour such as `#1173D3`."""
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    found: Floats = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return found


def lab(rgb: Floats) -> Floats:
    """Return CIELAB (D65) of linear RGB."""
    ratio = TO_XYZ @ rgb.clip(0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: Floats, other: Floats) -> float:
    """Return the colour difference of two colours in CIELAB (Sharma, Wu and Dalal 2005)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    a1, a2 = (a * (1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25**7))) for a in (a1, a2))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    light, chroma, middle = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360
    t = 1 + sum(
        weight * np.cos(np.radians(times * middle + shift))
        for weight, times, shift in ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    )
    parts = np.array(
        [
            (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)),
            (c2 - c1) / (1 + 0.045 * chroma),
            hue / (1 + 0.015 * chroma * t),
        ]
    )
    rotation = -np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2)))) * 2
    rotation *= np.sqrt(chroma**7 / (chroma**7 + 25**7))
    return float(np.sqrt((parts**2).sum() + rotation * parts[1] * parts[2]))


def test_the_colour_difference_is_that_of_published_pairs() -> None:
    """Pairs 1, 7 and 25 of the test data of Sharma, Wu and Dalal (2005)."""
    for one, other, expected in (
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ):
        assert ciede2000(np.array(one, float), np.array(other, float)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("place", ["colour", "night"])
def test_families_can_be_told_apart(place: str, vision: str) -> None:
    colours = {getattr(family, place): lab(VISION[vision] @ linear(getattr(family, place))) for family in FAMILIES}
    assert len(colours) == len(FAMILIES)
    close = {pair: d for pair in combinations(colours, 2) if (d := ciede2000(*(colours[each] for each in pair))) < 10}
    assert close == {}


@pytest.mark.parametrize(("place", "background"), [("colour", PAPER), ("night", NIGHT)])
def test_contrast_of_every_colour_is_enough_for_graphics(place: str, background: str) -> None:
    ground = TO_XYZ[1] @ linear(background)
    for family in FAMILIES:
        low, high = sorted((ground, TO_XYZ[1] @ linear(getattr(family, place))))
        assert (high + 0.05) / (low + 0.05) >= 3, family


def test_every_built_in_strategy_has_a_family() -> None:
    members = [name for family in FAMILIES for name in family.members]
    assert set(members) == {name for name, entry in STRATEGIES.items() if entry.origin is None}


def test_a_look_depends_on_the_label_only() -> None:
    with (Path(__file__).parents[2] / "leaderboards" / "runs.csv").open(newline="") as file:
        every = sorted({row["strategy"] for row in csv.DictReader(file)} | {"my_own"})
    assert len({look[:3] for look in looks(every).values()}) == len(every)
    for label in every:
        assert looks([label])[label] == looks(every)[label]


def test_variants_share_a_colour_and_differ_in_marker_and_hatch() -> None:
    labels = ["stamp_plus"] + [
        f"stamp_plus ({each})" for each in ("recovery_epochs=1", "base_dropout=0.4", "f=8", "x=1")
    ]
    found = looks(labels).values()
    assert len({each.colour for each in found}) == 1
    assert len({each.marker for each in found}) == len({each.hatch for each in found}) == len(labels)


def test_labels_that_would_look_the_same_get_different_markers() -> None:
    found = looks([f"plugin{number}" for number in range(11)])
    assert len({each.marker for each in found.values()}) == 11
