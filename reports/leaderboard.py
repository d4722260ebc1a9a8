"""The leaderboard: per dataset, training size and protocol a table with a row per strategy."""

from __future__ import annotations

import json
import math
from typing import NamedTuple

import pandas as pd
from tabulate import tabulate


class Board(NamedTuple):
    """One table: a title, notes that a reader must know, and the rows."""

    title: str
    notes: tuple[str, ...]
    rows: pd.DataFrame


def leaderboards(runs: pd.DataFrame, cases: pd.DataFrame) -> list[Board]:
    """Make the boards from finished runs and their cases.

    `runs` has a row per run with `group` (equal for comparable runs: data, training size, protocol),
    `strategy`, `fold`, `seed`, `parameters`, `flops`, `epochs` and `ranking_passes`; `cases` a row per run,
    test case and class with `dice`, `hd95` and `empty`. Per case, Dice is averaged over classes and then over
    folds and seeds; mean and standard deviation are over cases. Runs of different groups never meet.
    """
    if runs.empty:
        return []
    boards = [_board(group, cases[cases["run"].isin(group["run"])]) for _, group in runs.groupby("group", sort=False)]
    return sorted(boards, key=lambda board: board.title)


def _board(runs: pd.DataFrame, cases: pd.DataFrame) -> Board:
    first = runs.iloc[0]
    per_run_case = cases.groupby(["run", "case"], sort=False)[["dice", "hd95"]].mean().reset_index()
    per_run_case = per_run_case.merge(runs[["run", "strategy"]], on="run")
    per_case = per_run_case.groupby(["strategy", "case"], sort=False)[["dice", "hd95"]].mean()
    missed = cases["empty"].isin(["reference", "prediction"]).groupby(cases["run"]).sum()
    rows = []
    for strategy, own in runs.groupby("strategy", sort=False):
        scores = per_case.loc[strategy]
        rows.append(
            {
                "strategy": strategy,
                "Dice": scores["dice"].mean(skipna=False),
                "sd": scores["dice"].std(skipna=False),
                f"HD95 [{first['unit']}]": scores["hd95"].mean(skipna=False),
                "empty": int(missed.loc[own["run"]].sum()),
                "parameters": round(own["parameters"].mean()),
                "FLOPs": round(own["flops"].mean()),
                "epochs": round(own["epochs"].mean()),
                "ranking passes": round(own["ranking_passes"].mean()),
                "runs": len(own),
            }
        )
    table = pd.DataFrame(rows).sort_values("Dice", ascending=False, kind="stable", ignore_index=True)
    table.insert(0, "rank", table["Dice"].rank(ascending=False, method="min").astype(int))
    kind = "synthetic data, " if first["synthetic"] else ""
    title = (
        f"{first['dataset']} ({kind}version {first['dataset_version']}, data {first['data_checksum'][:8]}), "
        f"{first['n_train']} training images, protocol {first['protocol']}"
    )
    return Board(title, tuple(_notes(runs, cases)), table)


def _notes(runs: pd.DataFrame, cases: pd.DataFrame) -> list[str]:
    notes = []
    if runs["synthetic"].any():
        notes.append("Generated images: good for comparing code, no evidence about patients.")
    notes.append(
        f"Dice: mean and sd over {cases['case'].nunique()} test cases, classes and runs averaged per case. "
        "empty: masks (case × class) with only prediction or only reference empty; Dice 0, distance the image diagonal."
    )
    designs = {
        strategy: sorted(zip(own["fold"], own["seed"], strict=True)) for strategy, own in runs.groupby("strategy")
    }
    if len({tuple(design) for design in designs.values()}) > 1:
        notes.append("Rows differ in folds or seeds: they are not paired, and the ranks are no comparison.")
    return notes


def to_markdown(boards: list[Board]) -> str:
    """Titles, tables and notes."""
    return "\n".join(f"### {board.title}\n\n{_table(board)}\n\n{chr(10).join(board.notes)}\n" for board in boards)


def to_csv(boards: list[Board]) -> str:
    """All boards in one table, the title in the first column."""
    # The unit of HD95 is part of its column's name, so columns of different boards may differ.
    tables = [board.rows.assign(leaderboard=board.title) for board in boards]
    together = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return (
        str(together[["leaderboard", *(c for c in together if c != "leaderboard")]].to_csv(index=False))
        if tables
        else ""
    )


def to_json(boards: list[Board]) -> str:
    """A list of boards with title, notes and rows."""
    content = [
        {"title": board.title, "notes": board.notes, "rows": json.loads(board.rows.to_json(orient="records"))}
        for board in boards
    ]
    return json.dumps(content, indent=1) + "\n"


def _table(board: Board) -> str:
    spread = ["" if math.isnan(sd) else f" ± {sd:.3f}" for sd in board.rows["sd"]]  # one case has none
    shown = board.rows.assign(Dice=[f"{dice:.3f}{sd}" for dice, sd in zip(board.rows["Dice"], spread, strict=True)])
    for column in (name for name in shown if str(name).startswith("HD95")):
        shown[column] = [f"{value:.2f}" for value in board.rows[column]]
    for column in ("parameters", "FLOPs"):
        shown[column] = [f"{value:,}" for value in board.rows[column]]
    shown = shown.drop(columns="sd").rename(columns={"Dice": "Dice (mean ± sd)"})
    return tabulate(
        shown.values.tolist(), headers=list(shown.columns), tablefmt="github", disable_numparse=True,
        colalign=["right" if name not in ("strategy",) else "left" for name in shown],
    )  # fmt: skip
