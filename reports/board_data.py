"""A leaderboard as data of the web page: rows as text and numbers, runs and pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from stampbench.reports.board_columns import board_listing, columns
from stampbench.reports.decision import decide
from stampbench.reports.leaderboard import LEARNT, Board
from stampbench.reports.looks import Look
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.paired_runs import RUN, estimate, pair
from stampbench.reports.suitability import suitability
from stampbench.reports.table_formats import json_rows


def board_data(board: Board, runs: pd.DataFrame, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Return what the page shows of a leaderboard, ready for JSON.

    Args:
        board: the leaderboard.
        runs: rows of `runs` as for `leaderboards`; those of other leaderboards are ignored.
        looks: the look of every strategy.
    """
    own = runs[runs["group"] == board.about["group"]].sort_values(["strategy", *RUN])
    names = dict(zip(own["strategy"], own["name"], strict=True))
    rows = board.rows.to_dict("records")
    listing = board_listing(board)
    shown = [column for column in columns(str(board.about["unit"])) if column.key in listing.visible]
    texts = listing.arranged().texts.to_dict("records")
    return {
        "group": board.about["group"],
        "label": f"{board.about['dataset']}, {board.about['n_train']} images, {board.about['protocol']}",
        "title": board.title,
        "notes": board.notes,
        "columns": [column._asdict() | {"text": None} for column in shown],
        "rows": [
            {
                "name": names[row["strategy"]],
                "look": looks[row["strategy"]]._asdict(),
                "text": text,
                "raw": raw,
            }
            for row, text, raw in zip(rows, texts, json_rows(board.rows), strict=True)
        ],
        "runs": [_run(row) for row in own.to_dict("records")],
        **_pairs(board, own),
    }


def most_informative(boards: Sequence[Board]) -> int:
    """Return the position of the leaderboard to show first.

    That is one on which something is learnt, with the most strategies that have enough runs for a decision; then the
    one with most runs, and then the one that separates strategies best.
    """

    def information(board: Board) -> tuple[bool, int, int, float]:
        enough = int((board.rows["common_runs"] >= MIN_READERS).sum())
        ratio = suitability(board.scores)
        runs = int(board.rows["runs"].sum())
        return float(board.rows["dice"].max()) >= LEARNT, enough, runs, 0.0 if math.isnan(ratio) else ratio

    return max(range(len(boards)), key=lambda number: information(boards[number]), default=0)


def _run(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        "run": row["run"],
        "strategy": row["strategy"],
        "training_set": row["training_set"],
        "fold": row["fold"],
        "seed": row["seed"],
        "dice": round(row["test_dice"], 4),
        "hd95": round(row["test_hd95"], 2),
        "parameters": int(row["parameters"]),
        "epochs": int(row["epochs"]),
    }


def _pairs(board: Board, runs: pd.DataFrame) -> dict[str, Any]:
    """Return Dice by run and subject, in thousandths, and the analysis of every two strategies.

    An analysis is a list: mean, lower and upper bound, decision, number of pairs of runs.
    """
    subjects = sorted(set().union(*(table.columns for table in board.scores.values())), key=str)
    sets = runs["training_set"].nunique() > 1
    margin = float(runs["equivalence_margin"].min())
    pairs = {}
    for one, other in combinations(board.rows["strategy"], 2):
        paired = pair(board.scores[one], board.scores[other])
        found = estimate(paired, sets=sets)
        values = [None if math.isnan(each) else round(each, 5) for each in (found.mean, *found.interval())]
        pairs[f"{one}\n{other}"] = [*values, decide(found, margin) if len(paired) else "no common runs", len(paired)]
    scores = {
        strategy: {
            ",".join(map(str, run)): [None if math.isnan(each) else round(1000 * each) for each in row]
            for run, row in zip(table.index, table.reindex(columns=subjects).to_numpy(), strict=True)
        }
        for strategy, table in board.scores.items()
    }
    return {"subjects": [str(each) for each in subjects], "scores": scores, "pairs": pairs, "margin": margin}
