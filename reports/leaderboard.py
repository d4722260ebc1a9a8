"""The leaderboard: per dataset, training size and protocol a table with a row per strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from stampbench.reports.speed import Speed, speeds
from stampbench.reports.statistics import cluster_interval, holm, paired, pareto_front

COLUMNS = (
    "rank", "strategy", "dice", "dice_low", "dice_high", "p_holm", "hd95", "msd", "empty", "parameters", "flops",
    "latency_ratio", "epochs", "ranking_passes", "folds", "seeds", "runs", "run_sd", "pareto_parameters",
    "pareto_latency",
)  # fmt: skip


class Board(NamedTuple):
    """One table: a title, what runs have in common that are in it, notes that a reader must know, and the rows.

    `rows` has the columns of `COLUMNS`: `dice_low` and `dice_high` are the 95 % interval, `p_holm` is that of the
    difference from the first row, `run_sd` the spread between runs. `per_case` holds the Dice of every test case,
    a row per case and a column per strategy, `subjects` the subject of every case.
    """

    title: str
    about: Mapping[str, Any]
    notes: tuple[str, ...]
    rows: pd.DataFrame
    per_case: pd.DataFrame
    subjects: Mapping[str, str]


def leaderboards(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame | None = None) -> list[Board]:
    """Make the boards from finished runs, their cases and the timings of their networks.

    `runs` has a row per run with `group` (equal for comparable runs: data, training size, protocol), `strategy`,
    `fold`, `seed`, `parameters`, `flops`, `epochs` and `ranking_passes`; `cases` a row per run, test case and class
    with `subject`, `dice`, `hd95`, `msd` and `empty`; `timings` those of `stampbench latency`. Scores are averaged over
    classes, then over folds and seeds, then over cases. Runs of different groups never meet.
    """
    if runs.empty:
        return []
    owned = dict(iter(cases.groupby(cases["run"].map(runs.set_index("run")["group"]), sort=False)))
    timings = pd.DataFrame(columns=["run"]) if timings is None or timings.empty else timings
    boards = [
        _board(group, owned[name], timings[timings["run"].isin(group["run"])])
        for name, group in runs.groupby("group", sort=False)
    ]
    return sorted(boards, key=lambda board: (board.about["dataset"], board.about["n_train"], board.title))


def _board(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame) -> Board:
    first = runs.iloc[0]
    scores = cases.groupby(["run", "case"], sort=False)[["dice", "hd95", "msd"]].mean().reset_index()
    scores = scores.merge(runs[["run", "strategy", "fold", "seed"]], on="run")
    named = cases.drop_duplicates("case")
    subjects = dict(zip(named["case"], named["subject"], strict=True))
    per_case = scores.groupby(["strategy", "case"], sort=False)[["dice", "hd95", "msd"]].mean()
    missed = cases["empty"].isin(["reference", "prediction"]).groupby(cases["run"]).sum()
    speed = speeds(runs, timings)
    rows = []
    for strategy, own in runs.groupby("strategy", sort=False):
        mine = per_case.loc[strategy]
        interval = cluster_interval(mine["dice"].to_numpy(), [subjects[case] for case in mine.index])
        rows.append(
            {
                "strategy": strategy,
                "dice": interval.mean,
                "dice_low": max(interval.low, 0.0),
                "dice_high": min(interval.high, 1.0),
                "hd95": mine["hd95"].mean(skipna=False),
                "msd": mine["msd"].mean(skipna=False),
                "empty": int(missed.loc[own["run"]].sum()),
                "parameters": round(own["parameters"].mean()),
                "flops": round(own["flops"].mean()),
                "latency_ratio": speed.ratios.get(str(strategy), math.nan),
                "epochs": round(own["epochs"].mean()),
                "ranking_passes": round(own["ranking_passes"].mean()),
                "folds": own["fold"].nunique(),
                "seeds": own["seed"].nunique(),
                "runs": len(own),
                "run_sd": scores[scores["strategy"] == strategy].groupby("run")["dice"].mean().std(),
            }
        )
    table = pd.DataFrame(rows).sort_values(["dice", "strategy"], ascending=[False, True], ignore_index=True)
    table["rank"] = table["dice"].rank(ascending=False, method="min").astype(int)
    table["p_holm"] = _against_the_best(table["strategy"], scores, subjects)
    table["pareto_parameters"] = pareto_front(list(table["parameters"]), list(table["dice"]))
    table["pareto_latency"] = pareto_front(list(table["latency_ratio"]), list(table["dice"]))
    about = {
        "dataset": first["dataset"],
        "version": str(first["dataset_version"]),
        "data": first["data_checksum"][:8],
        "form": first["form"],
        "n_train": int(first["n_train"]),
        "protocol": first["protocol"],
        "unit": first["unit"],
        "synthetic": bool(first["synthetic"]),
        "group": first["group"],
    }
    dice = per_case["dice"].unstack("strategy")
    return Board(
        _title(about), about, tuple(_notes(runs, cases, speed, table)), table[list(COLUMNS)], dice, subjects
    )  # fmt: skip


def _title(about: Mapping[str, Any]) -> str:
    kind = "synthetic data, " if about["synthetic"] else ""
    return (
        f"{about['dataset']} ({kind}version {about['version']}, data {about['data']}, {about['form']}), "
        f"{about['n_train']} training images, protocol {about['protocol']}"
    )


def _against_the_best(
    strategies: pd.Series[str], scores: pd.DataFrame, subjects: Mapping[str, str]
) -> list[float]:  # fmt: skip
    """Holm-corrected p of each one's difference from the first, over the folds and seeds that both have."""
    best = strategies.iloc[0]
    p_values = [paired_runs(scores, best, each, subjects) for each in strategies.iloc[1:]]
    return [math.nan, *holm(p_values)]


def paired_runs(scores: pd.DataFrame, one: str, other: str, subjects: Mapping[str, str]) -> float:
    """Wilcoxon's p of two strategies' cases, averaged over the folds and seeds that both have; NaN without any."""
    mine, others = (scores[scores["strategy"] == each] for each in (one, other))
    common = set(_design(mine)) & set(_design(others))
    if not common:
        return math.nan
    first, second = (
        part[[design in common for design in zip(part["fold"], part["seed"], strict=True)]]
        .groupby("case")["dice"].mean()
        for part in (mine, others)
    )  # fmt: skip
    return paired(first, second, subjects).wilcoxon_p if set(first.index) == set(second.index) else math.nan


def _design(runs: pd.DataFrame) -> Sequence[tuple[int, int]]:
    return sorted(set(zip(runs["fold"], runs["seed"], strict=True)))


def _notes(runs: pd.DataFrame, cases: pd.DataFrame, speed: Speed, table: pd.DataFrame) -> list[str]:
    notes = []
    if runs["synthetic"].any():
        notes.append("Generated images: good for comparing code, no evidence about patients.")
    subjects = cases["subject"].nunique()
    notes.append(
        f"Dice: mean over {cases['case'].nunique()} test cases of {subjects} subjects, classes and runs averaged per "
        "case, with the 95 % interval of a bootstrap over subjects: how sure it is of these trained networks, not of "
        "others trained alike (run sd). p: Wilcoxon's test over subjects against the first row, Holm-corrected. empty: "
        "masks (case × class) with only prediction or only reference empty; Dice 0, distance the image diagonal."
    )
    if len(table) > 1 and subjects < 6:
        notes.append("With fewer than six subjects Wilcoxon's test cannot find any difference at p < .05.")
    if cases.groupby("run")["case"].nunique().nunique() > 1:
        notes.append("Some runs were tested on fewer cases than others: means are over other cases, and have no p.")
    designs = {strategy: tuple(_design(own)) for strategy, own in runs.groupby("strategy")}
    if len(set(designs.values())) > 1:
        notes.append(
            "Rows differ in folds or seeds: ranks are no paired comparison; p is over what two rows have in common."
        )
    return [*notes, *speed.notes]
