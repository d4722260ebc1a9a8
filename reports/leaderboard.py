"""Leaderboards: for each dataset, training size and protocol, a table with a row per strategy."""

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
"""Columns of the rows of a leaderboard."""


class Board(NamedTuple):
    """A leaderboard of comparable runs.

    `about` holds what all runs of the leaderboard have in common; `notes` explain the numbers and their limits.

    `rows` has the columns of `COLUMNS`: `dice_low` and `dice_high` bound the 95 % confidence interval of `dice`,
    `p_holm` is the Holm-corrected p-value of the difference from the first row, `run_sd` is the standard deviation of
    the mean Dice between runs. `per_case` holds the Dice of every test case, with a row per case and a column per
    strategy; `subjects` holds the subject of every case.
    """

    title: str
    about: Mapping[str, Any]
    notes: tuple[str, ...]
    rows: pd.DataFrame
    per_case: pd.DataFrame
    subjects: Mapping[str, str]


def leaderboards(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame | None = None) -> list[Board]:
    """Make a leaderboard from each group of comparable runs.

    Scores are averaged over classes, then over folds and seeds, then over cases. Runs of different groups are never
    compared.

    Args:
        runs: a row per finished run with `run`, `group` (equal for comparable runs: same data, training size and
            protocol), `strategy`, `fold`, `seed`, `parameters`, `flops`, `epochs` and `ranking_passes`.
        cases: a row per run, test case and class with `run`, `case`, `subject`, `dice`, `hd95`, `msd` and `empty`.
        timings: rows of `stampbench latency` with the column `run`; without timings there are no latencies.

    Returns:
        Leaderboards sorted by dataset, training size and title.
    """
    if runs.empty:
        return []
    cases_of_group = dict(iter(cases.groupby(cases["run"].map(runs.set_index("run")["group"]), sort=False)))
    timings = pd.DataFrame(columns=["run"]) if timings is None or timings.empty else timings
    boards = [
        _board(group, cases_of_group[name], timings[timings["run"].isin(group["run"])])
        for name, group in runs.groupby("group", sort=False)
    ]
    return sorted(boards, key=lambda board: (board.about["dataset"], board.about["n_train"], board.title))


def _board(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame) -> Board:
    scores = cases.groupby(["run", "case"], sort=False)[["dice", "hd95", "msd"]].mean().reset_index()
    scores = scores.merge(runs[["run", "strategy", "fold", "seed"]], on="run")
    unique_cases = cases.drop_duplicates("case")
    subjects = dict(zip(unique_cases["case"], unique_cases["subject"], strict=True))
    per_case = scores.groupby(["strategy", "case"], sort=False)[["dice", "hd95", "msd"]].mean()
    empty = cases["empty"].isin(["reference", "prediction"]).groupby(cases["run"]).sum()
    speed = speeds(runs, timings)
    rows = []
    for strategy, strategy_runs in runs.groupby("strategy", sort=False):
        row = {
            "strategy": strategy,
            "empty": int(empty.loc[strategy_runs["run"]].sum()),
            "latency_ratio": speed.ratios.get(str(strategy), math.nan),
            "run_sd": scores[scores["strategy"] == strategy].groupby("run")["dice"].mean().std(),
        }
        rows.append(row | _mean_scores(pd.DataFrame(per_case.loc[strategy]), subjects) | _costs(strategy_runs))
    table = pd.DataFrame(rows).sort_values(["dice", "strategy"], ascending=[False, True], ignore_index=True)
    table["rank"] = table["dice"].rank(ascending=False, method="min").astype(int)
    table["p_holm"] = _p_values_against_first(table["strategy"], scores, subjects)
    table["pareto_parameters"] = pareto_front(list(table["parameters"]), list(table["dice"]))
    table["pareto_latency"] = pareto_front(list(table["latency_ratio"]), list(table["dice"]))
    about = _about(runs.iloc[0])
    notes = tuple(_notes(runs, cases, speed, table))
    return Board(_title(about), about, notes, table[list(COLUMNS)], per_case["dice"].unstack("strategy"), subjects)


def _mean_scores(scores: pd.DataFrame, subjects: Mapping[str, str]) -> dict[str, float]:
    """Return the mean scores of a strategy over cases, and the interval of its Dice clipped to [0, 1].

    Args:
        scores: `dice`, `hd95` and `msd` of one strategy by case.
        subjects: the subject of every case.
    """
    interval = cluster_interval(scores["dice"].to_numpy(), [subjects[case] for case in scores.index])
    return {
        "dice": interval.mean,
        "dice_low": max(interval.low, 0.0),
        "dice_high": min(interval.high, 1.0),
        "hd95": scores["hd95"].mean(skipna=False),
        "msd": scores["msd"].mean(skipna=False),
    }


def _costs(runs: pd.DataFrame) -> dict[str, int]:
    """Return the mean size and training cost of a strategy's runs, and how many runs there are."""
    means = {name: round(runs[name].mean()) for name in ("parameters", "flops", "epochs", "ranking_passes")}
    return means | {"folds": runs["fold"].nunique(), "seeds": runs["seed"].nunique(), "runs": len(runs)}


def _about(run: pd.Series) -> dict[str, Any]:  # type: ignore[type-arg]
    return {
        "dataset": run["dataset"],
        "version": str(run["dataset_version"]),
        "data": run["data_checksum"][:8],
        "form": run["form"],
        "n_train": int(run["n_train"]),
        "protocol": run["protocol"],
        "unit": run["unit"],
        "synthetic": bool(run["synthetic"]),
        "group": run["group"],
    }


def _title(about: Mapping[str, Any]) -> str:
    kind = "synthetic data, " if about["synthetic"] else ""
    return (
        f"{about['dataset']} ({kind}version {about['version']}, data {about['data']}, {about['form']}), "
        f"{about['n_train']} training images, protocol {about['protocol']}"
    )


def _p_values_against_first(
    strategies: pd.Series[str], scores: pd.DataFrame, subjects: Mapping[str, str]
) -> list[float]:  # fmt: skip
    """Return the Holm-corrected p-value of each strategy's difference from the first one, whose own p-value is NaN."""
    first = strategies.iloc[0]
    p_values = [wilcoxon_p(scores, first, each, subjects) for each in strategies.iloc[1:]]
    return [math.nan, *holm(p_values)]


def wilcoxon_p(scores: pd.DataFrame, first: str, second: str, subjects: Mapping[str, str]) -> float:
    """Return the p-value of Wilcoxon's signed-rank test between two strategies.

    The scores of a case are averaged over the folds and seeds that both strategies have.

    Args:
        scores: a row per run and case with `strategy`, `fold`, `seed`, `case` and `dice`.
        first: label of a strategy.
        second: label of the other strategy.
        subjects: the subject of every case.

    Returns:
        The p-value; NaN if the strategies share no fold and seed or were tested on different cases.
    """
    runs = [scores[scores["strategy"] == strategy] for strategy in (first, second)]
    common = set(_folds_and_seeds(runs[0])) & set(_folds_and_seeds(runs[1]))
    if not common:
        return math.nan
    first_dice, second_dice = (
        part[[pair in common for pair in zip(part["fold"], part["seed"], strict=True)]].groupby("case")["dice"].mean()
        for part in runs
    )
    if set(first_dice.index) != set(second_dice.index):
        return math.nan
    return paired(first_dice, second_dice, subjects).wilcoxon_p


def _folds_and_seeds(runs: pd.DataFrame) -> Sequence[tuple[int, int]]:
    return sorted(set(zip(runs["fold"], runs["seed"], strict=True)))


def _notes(runs: pd.DataFrame, cases: pd.DataFrame, speed: Speed, table: pd.DataFrame) -> list[str]:
    """Explain the numbers of a leaderboard and state their limits."""
    notes = []
    if runs["synthetic"].any():
        notes.append("Synthetic images: suitable for comparing software, but no evidence about patients.")
    subjects = cases["subject"].nunique()
    notes.append(
        f"Dice: mean over {cases['case'].nunique()} test cases of {subjects} subjects, averaged over classes and runs "
        "for each case, with the 95 % confidence interval for these trained networks (bootstrap over subjects); "
        "variation between training runs is not included (see run sd). p (Holm): Wilcoxon's signed-rank test over "
        "subjects against the first row, corrected by Holm's method. empty: number of masks (case × class) where "
        "either the prediction or the reference is empty, but not both; they have Dice 0 and the image diagonal as "
        "distance."
    )
    if len(table) > 1 and subjects < 6:
        notes.append("With fewer than six subjects, Wilcoxon's test cannot reach p < .05.")
    if cases.groupby("run")["case"].nunique().nunique() > 1:
        notes.append(
            "Some runs were tested on fewer cases than others: their means are over different cases and have no "
            "p-value."
        )
    designs = {strategy: tuple(_folds_and_seeds(group)) for strategy, group in runs.groupby("strategy")}
    if len(set(designs.values())) > 1:
        notes.append(
            "Rows differ in folds or seeds: ranks are not a paired comparison; a p-value uses only the folds and seeds "
            "that both rows have."
        )
    return [*notes, *speed.notes]
