"""Leaderboards: for each dataset, training size and protocol, a table with a row per strategy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from stampbench.reports.boundary import boundary_scores
from stampbench.reports.decision import decide
from stampbench.reports.multi_reader import MIN_READERS, Estimate
from stampbench.reports.paired_runs import (
    RUN,
    adjusted_means,
    all_pairs,
    by_reader,
    cross_validated,
    designs,
    dice_by_run,
    estimate,
    interval_over_subjects,
    joined_folds,
)
from stampbench.reports.speed import Speed, in_low_precision, speeds, standard_label
from stampbench.reports.statistics import holm
from stampbench.reports.suitability import suitability
from stampbench.reports.tiers import Pairs, pareto_front, tiers

COLUMNS = (
    "tier", "strategy", "dice", "dice_low", "dice_high", "cases_low", "cases_high", "difference", "difference_low",
    "difference_high", "decision", "p", "p_holm", "common_runs", "nsd", "empty_rate", "hd95_median", "hd95_p90",
    "hd95_nonempty", "average_hausdorff", "parameters", "flops", "latency_ratio", "latency_low", "latency_high",
    "epochs", "ranking_passes", "validation_dice", "training_sets", "folds", "seeds", "runs", "run_sd",
    "pareto_parameters", "pareto_latency",
)  # fmt: skip
"""Columns of the rows of a leaderboard."""
LEARNT = 0.5
"""Dice that at least one strategy must reach; otherwise too little is learnt to compare strategies."""


class Board(NamedTuple):
    """A leaderboard of comparable runs.

    `about` holds what all runs of the leaderboard have in common; `notes` explain the numbers and their limits.

    `rows` has the columns of `COLUMNS`:

    - `dice_low` and `dice_high` bound the 95 % confidence interval of `dice` over runs and subjects, `cases_low` and
      `cases_high` that over subjects only, for these trained networks.
    - `difference` is that to `standard` over the runs that both have (`common_runs`), with its 95 % confidence
      interval, p-value and decision; `p_holm` is corrected for the number of rows, and decides.
    - `latency_low` and `latency_high` bound the 95 % confidence interval of `latency_ratio`; see `Speed`.
    - `run_sd` is the standard deviation of mean Dice between runs; the scores of boundaries are those of
      `boundary_scores`.

    `scores` holds the table of `dice_by_run` for each strategy; `timed` names backend, processor and threads of the
    latencies, and is empty without latencies.
    """

    title: str
    about: Mapping[str, Any]
    notes: tuple[str, ...]
    rows: pd.DataFrame
    scores: Mapping[str, pd.DataFrame]
    timed: str = ""


def leaderboards(runs: pd.DataFrame, cases: pd.DataFrame, timings: pd.DataFrame | None = None) -> list[Board]:
    """Make a leaderboard from each group of comparable runs.

    Scores are averaged over classes, then over the cases of a subject, then over runs and subjects. Runs of different
    groups are never compared. Rows are ordered by `adjusted_means`.

    Args:
        runs: a row per finished run with `run`, `group` (equal for comparable runs: same data, training size and
            protocol), `strategy`, `training_set`, `fold`, `seed`, `parameters`, `flops`, `epochs`, `ranking_passes`,
            `validation_dice` and `equivalence_margin`.
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
    strategy_of_case = cases["run"].map(runs.set_index("run")["strategy"])
    scores, sets = dice_by_run(runs, cases), runs["training_set"].nunique() > 1
    speed = speeds(runs, timings)
    by_strategy = dict(iter(runs.groupby("strategy", sort=False)))
    rows = [
        {"strategy": name}
        | _latency(speed, str(name))
        | _dice(scores[name], sets=sets)
        | boundary_scores(strategy_cases)
        | _costs(by_strategy[name])
        for name, strategy_cases in cases.groupby(strategy_of_case, sort=False)
    ]
    pairs = all_pairs(scores)
    margin = float(runs["equivalence_margin"].min())
    differences = _differences(by_strategy, pairs, standard_label(runs), margin=margin, sets=sets)
    table = pd.DataFrame(rows).merge(pd.DataFrame(differences), on="strategy")
    table = table.assign(adjusted=table["strategy"].map(adjusted_means(scores)).round(6))
    table = table.sort_values(["adjusted", "strategy"], ascending=[False, True], ignore_index=True)
    table["tier"] = tiers(list(table["strategy"]), pairs, sets=sets)
    sizes_by_run = joined_folds(runs).groupby(["strategy", *RUN])["parameters"].mean()
    sizes = {str(name): part.droplevel(0) for name, part in sizes_by_run.groupby(level=0)}
    latencies = {name: pd.Series(speed.ratios.get(name, math.nan), each.index) for name, each in scores.items()}
    table["pareto_parameters"] = table["strategy"].map(pareto_front(sizes, pairs))
    table["pareto_latency"] = table["strategy"].map(pareto_front(latencies, pairs))
    about = _about(runs.iloc[0])
    notes = tuple(_notes(runs, cases, speed, table, suitability(scores)))
    return Board(_title(about), about, notes, table[list(COLUMNS)], scores, speed.place)


def _latency(speed: Speed, strategy: str) -> dict[str, float]:
    """Return a strategy's latency relative to the standard network, with its interval."""
    low, high = speed.intervals.get(strategy, (math.nan, math.nan))
    return {"latency_ratio": speed.ratios.get(strategy, math.nan), "latency_low": low, "latency_high": high}


def _dice(scores: pd.DataFrame, *, sets: bool) -> dict[str, float]:
    """Return a strategy's mean Dice with both intervals, clipped to [0, 1], and its spread between runs.

    Args:
        scores: the strategy's table of `dice_by_run`.
        sets: whether training sets are the readers of the analysis.
    """
    found = estimate(scores, sets=sets)
    low, high = found.interval()
    cases = interval_over_subjects(scores, sets=sets)
    return {
        "dice": float(by_reader(scores, sets=sets).mean(axis=1).mean()),
        "dice_low": max(low, 0.0),
        "dice_high": min(high, 1.0),
        "cases_low": max(cases.low, 0.0),
        "cases_high": min(cases.high, 1.0),
        "run_sd": float(scores.mean(axis=1).std()),
    }


def _differences(
    runs: Mapping[Any, pd.DataFrame], pairs: Pairs, standard: str | None, *, margin: float, sets: bool
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the columns about the difference of each strategy to the standard network.

    p-values are corrected for the rows of the leaderboard, those of networks in low precision among themselves: these
    are the networks of other rows again.

    Args:
        runs: the rows of each strategy.
        pairs: differences of `all_pairs`.
        standard: label of the standard network; None: there is none.
        margin: margin of equivalence.
        sets: whether training sets are the readers of the analysis.
    """
    rows, found = list[dict[str, Any]](), dict[Any, Estimate]()
    for name in runs:
        paired = pairs.get((name, str(standard)), pd.DataFrame())
        found[name] = estimate(paired, sets=sets)
        low, high = found[name].interval()
        decision = ""
        if name == standard:
            decision = "reference"
        elif standard is not None and paired.empty:
            common = set(designs(runs[name])) & set(designs(runs[standard]))
            decision = "other test cases" if common else "no common runs"
        rows.append(
            {
                "strategy": name, "difference": found[name].mean, "difference_low": low, "difference_high": high,
                "p": found[name].p, "decision": decision, "common_runs": len(paired),
            }
        )  # fmt: skip
    precisions = [in_low_precision(runs[row["strategy"]]) for row in rows]
    for row, p in zip(rows, holm([row["p"] for row in rows], precisions), strict=True):
        row["p_holm"] = p
        if standard is not None and not row["decision"]:
            row["decision"] = decide(found[row["strategy"]], margin, p)
    return rows


def _costs(runs: pd.DataFrame) -> dict[str, float]:
    """Return the mean size, training cost and validation Dice of a strategy's runs, and how many runs there are."""
    counts = ("parameters", "flops", "epochs", "ranking_passes")
    means = {name: round(runs[name].mean()) for name in counts}
    sets = runs["training_set"].nunique()
    return means | {
        "validation_dice": runs["validation_dice"].mean(),
        "training_sets": sets, "folds": runs["fold"].nunique(), "seeds": runs["seed"].nunique(), "runs": len(runs),
    }  # fmt: skip


def _designs_of(runs: pd.DataFrame) -> dict[str, set[tuple[int, ...]]]:
    """Return training set, fold and seed of each strategy's runs."""
    found: dict[str, set[tuple[int, ...]]] = {}
    for strategy, design in zip(runs["strategy"], designs(runs), strict=True):
        found.setdefault(strategy, set()).add(design)
    return found


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


def _notes(
    runs: pd.DataFrame, cases: pd.DataFrame, speed: Speed, table: pd.DataFrame, ratio: float
) -> list[str]:  # fmt: skip
    """Explain the numbers of a leaderboard and state their limits."""
    notes = []
    if runs["synthetic"].any():
        notes.append("Synthetic images: suitable for comparing software, but no evidence about patients.")
    sets = runs["training_set"].nunique()
    readers = "training sets, whose runs are averaged," if sets > 1 else "runs"
    notes.append(
        f"Dice: mean over {cases['case'].nunique()} test cases of {cases['subject'].nunique()} subjects and over runs, "
        f"with the 95 % confidence interval for other {readers} and other subjects (multi-reader multi-case analysis), "
        f"from {MIN_READERS} {'training sets' if sets > 1 else 'runs'} on. Δ: difference to the standard network over "
        "the runs that both have. Decision: better or worse if p < .05 after Holm's correction for the rows, else "
        f"equivalent if the 90 % interval lies within ±{float(runs['equivalence_margin'].min()):g}, else undecided. "
        "Tier: a new one begins only with a strategy that is worse than one of "
        "the tier above (p < .05 after Holm's correction for all pairs). empty: share of masks (case × class) where "
        "either the prediction or the reference is empty, but not both; they have Dice 0 and rank worst in the median "
        "and the 90th percentile of HD95."
    )
    notes.append(
        f"{sets} draws of the training images, which overlap where the pool is small."
        if sets > 1
        else "One draw of the training images: variation between draws is not included."
    )
    if ratio < 1:
        notes.append(
            f"A single run does not separate strategies here: the standard deviation between strategies is {ratio:.2f} "
            "times that between runs of one strategy."
        )
    elif not math.isnan(ratio):
        notes.append(f"The standard deviation between strategies is {ratio:.2f} times that between runs of one.")
    if float(table["dice"].max()) < LEARNT:
        notes.append(f"No strategy reaches Dice {LEARNT:g}: too little is learnt here to compare strategies.")
    if cross_validated(runs).any():
        notes.append("Cross-validation: each case is tested in one fold, and all folds together count as one run.")
    elif cases.groupby("run")["case"].nunique().min() < cases["case"].nunique():
        notes.append(
            "Some runs were not tested on all cases: their means are over different cases and are not compared."
        )
    if len(set(map(frozenset, _designs_of(runs).values()))) > 1:
        notes.append("Rows differ in their runs: Dice is the mean of a row's own runs, Δ is over common runs.")
    return [*notes, *speed.notes]
