"""Suites: grids of runs as data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.resolve import Folds


def parse_n_train(value: object) -> object:
    """Return a number of training images, or `all`.

    Raises:
        ValueError: when it is neither.
    """
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if number != "all" and not (isinstance(number, int) and not isinstance(number, bool) and number >= 2):
        raise ValueError("neither 'all' nor a number of images from 2")
    return number


def parse_folds(value: object) -> object:
    """Return fold numbers from a list, a number, or a text such as `0,2`; or `all`.

    Raises:
        ValueError: when it is none of these.
    """
    if value == "all":
        return value
    parts: list[Any] = value.split(",") if isinstance(value, str) else _listed(value)
    try:
        if any(isinstance(part, bool | float) for part in parts):
            raise TypeError
        return tuple(dict.fromkeys(int(part) for part in parts))
    except (TypeError, ValueError):
        raise ValueError("neither 'all' nor fold numbers such as 0,2") from None


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _named(value: object) -> object:
    """Turn each name of a list into a mapping with that name."""
    if not isinstance(value, list | tuple):
        return value
    return [{"name": each} if isinstance(each, str) else each for each in value]


Number = Annotated[int, Field(ge=0, lt=2**63)]
"""A seed, or the number of a training set."""
NTrain = Annotated[int | Literal["all"], BeforeValidator(parse_n_train)]
"""Training images, validation images included."""


class Entry(BaseModel, frozen=True, extra="forbid"):
    """A strategy or network with hyperparameters set to one value, or to each of several in a grid."""

    name: str
    set: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    @property
    def variants(self) -> int:
        """Number of points of the grid."""
        return math.prod(map(len, self.grid.values()))

    def settings(self) -> Iterator[dict[str, Any]]:
        """Yield the hyperparameters of every point of the grid."""
        for values in itertools.product(*self.grid.values()):
            yield self.set | dict(zip(self.grid, values, strict=True))


class Block(BaseModel, frozen=True, extra="forbid"):
    """Strategies × networks × datasets × training sizes × training sets × folds × seeds under one protocol.

    An entry of `strategies` or `networks` is a name, or has `name`, `set` and `grid`; an entry of `datasets` is a name
    or folder, or has the fields of a `DatasetRequest`. `weights` is a file or folder of trained weights.
    """

    strategies: Annotated[list[Entry], BeforeValidator(_named)] = []
    networks: Annotated[list[Entry], BeforeValidator(_named)] = [Entry(name="unet")]
    datasets: Annotated[list[DatasetRequest], BeforeValidator(_named)] = []
    n_train: Annotated[list[NTrain], BeforeValidator(_listed)] = ["all"]
    training_sets: list[Number] = [0]
    folds: Annotated[Folds, BeforeValidator(parse_folds)] = "all"
    seeds: list[Number] = [0]
    weights: str | None = None
    protocol: str = "paper"
    protocol_set: dict[str, Any] = {}


class Suite(Block, frozen=True, extra="forbid"):
    """A block with a name and a purpose, and `runs`: blocks that each replace some of its keys.

    `quick` replaces keys for the variant that takes hours instead of weeks.
    """

    name: str = "unnamed"
    summary: str = ""
    source: str = Field("", description="paper, and the figure or table that the suite reproduces")
    paper: list[str] = Field(default=[], description="the paper's findings, where its text gives numbers")
    extends: str | None = None
    runs: list[dict[str, Any]] = []
    quick: dict[str, Any] = {}

    def blocks(self) -> list[Block]:
        """Return the grids of the suite.

        Raises:
            ValidationError: when an entry of `runs` is not a block.
        """
        common = self.model_dump(include=set(Block.model_fields))
        return [Block.model_validate(common | each) for each in self.runs] or [Block.model_validate(common)]
