"""Checks of submitted records: honest ones are accepted, and every manipulation is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.config.spec import RunSpec

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def published(recorded_runs: Any, stampbench: Command, tmp_path: Path) -> Path:
    """Folder of the published tables of the recorded runs."""
    assert stampbench("publish", "--runs", recorded_runs.runs, "--output", tmp_path / "tables")[0] == 0
    return tmp_path / "tables"


def manipulate(folder: Path, change: Callable[[dict[str, Any], pd.DataFrame], pd.DataFrame | None]) -> None:
    """Change a record and its cases, and update the checksums, as somebody who knows the format would."""
    record = json.loads((folder / "run.json").read_text())
    cases = pd.read_csv(folder / "cases.csv", keep_default_na=False)
    changed = change(record, cases)
    if changed is not None:
        text = changed.to_csv(index=False)
        (folder / "cases.csv").write_text(text)
        record["files"]["cases.csv"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps(record))


def raise_dice(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """Raise every Dice by five per cent, and the summary accordingly."""
    cases["dice"] = (cases["dice"] * 1.05 + 0.01).clip(upper=0.999)
    record["summary"]["test_dice"] = cases["dice"].mean()
    return cases


def raise_dice_within_voxel_counts(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """Set every Dice to the highest value that its voxel counts allow."""
    least = cases[["predicted_voxels", "reference_voxels"]].min(axis=1)
    cases["dice"] = 2 * least / (cases["predicted_voxels"] + cases["reference_voxels"]).clip(lower=1)
    record["summary"]["test_dice"] = cases["dice"].mean()
    return cases


def claim_fewer_parameters(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["parameters"] -= 1


def claim_half_the_macs(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["macs"] //= 2


def raise_summary_only(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["test_dice"] += 0.01


def drop_worst_case(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    worst = cases.groupby("case")["dice"].mean().idxmin()
    kept = cases[cases["case"] != worst]
    for name in ("dice", "hd95", "msd"):
        record["summary"][f"test_{name}"] = kept[name].mean()
    return kept


def lower_hd95(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    cases["hd95"] = 0.1
    record["summary"]["test_hd95"] = 0.1
    return cases


def claim_empty_masks(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """Claim that both masks of a case are empty, which gives a Dice of 1."""
    cases.loc[cases.index[0], ["dice", "predicted_voxels", "reference_voxels"]] = [1, 0, 0]
    record["summary"]["test_dice"] = cases["dice"].mean()
    return cases


def drop_a_class(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    kept = cases[cases["class"] == "front"]
    for name in ("dice", "hd95", "msd"):
        record["summary"][f"test_{name}"] = kept[name].mean()
    return kept


def merge_subjects(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    return cases.assign(subject="all")


def change_label(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["label"] = "stamp_plus"


def delete_macs(record: dict[str, Any], cases: pd.DataFrame) -> None:
    del record["summary"]["macs"]


def add_unknown_hyperparameter(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["spec"]["hyperparameters"]["no_such_hyperparameter"] = 1
    record["id"] = RunSpec.model_validate(record["spec"]).id


def claim_one_epoch(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["epochs"] = 1


def change_unit(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["dataset"]["unit"] = "furlong"


def test_unchanged_records_are_accepted(recorded_runs: Any, published: Path, stampbench: Command) -> None:
    code, out, _ = stampbench(
        "submit", "check", recorded_runs.runs, "--against", published, "--data-root", recorded_runs.data
    )
    assert code == 0, out
    assert out.splitlines()[-1] == "accepted: 12 runs, 24 cases segmented again"
    code, out, _ = stampbench("submit", "check", recorded_runs.runs, "--data-root", "nowhere")
    assert (code, "was not segmented again: dataset 'hippocampus': folder" in out) == (1, True)
    code, out, _ = stampbench("submit", "check", recorded_runs.runs, "--data-root", "nowhere", "--rescore", "0")
    assert (code, out) == (0, "accepted: 12 runs, 0 cases segmented again\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (raise_dice, "is impossible with"),
        (raise_dice_within_voxel_counts, "but its network reaches"),
        (claim_fewer_parameters, "parameters, but its network"),
        (claim_half_the_macs, "macs, its summary says"),
        (raise_summary_only, "its summary says test dice"),
        (drop_worst_case, "its test cases, their classes, subjects or labelled voxels are not"),
        (lower_hd95, "its network reaches"),
        (claim_empty_masks, "labelled voxels are not those"),
        (drop_a_class, "does not have each of"),
        (merge_subjects, "its test cases, their classes, subjects"),
        (change_label, "its strategy is called 'stamp_plus', but is"),
        (delete_macs, "incomplete record: missing summary.macs"),
        (add_unknown_hyperparameter, "its strategy cannot be checked"),
        (claim_one_epoch, "epochs, its trajectory"),
        (change_unit, "its unit is furlong, the leaderboard's mm"),
    ],
)
def test_manipulated_records_are_output_of_refusal(
    change: Callable[..., pd.DataFrame | None], reason: str, copied_runs: Any, published: Path, stampbench: Command
) -> None:
    for other in set(copied_runs.runs.glob("*/*")) - set(copied_runs.runs.glob("*/standard")):
        shutil.rmtree(other)  # unchanged runs, whose check would take most of the time
    folder = next(copied_runs.runs.glob("*/standard/*"))
    manipulate(folder, change)
    id = json.loads((folder / "run.json").read_text())["id"]
    folder.rename(folder.with_name(id))
    code, out, _ = stampbench(
        "submit", "check", copied_runs.runs, "--against", published, "--data-root", copied_runs.data, "--rescore", "all"
    )
    assert code == 1
    assert any(line.startswith("refused: ") and reason in line for line in out.splitlines()), out


def test_missing_folds_other_protocols_other_data_and_missing_parents_are_refused(
    copied_runs: Any, published: Path, stampbench: Command
) -> None:
    def output_of_refusal(runs: Path) -> str:
        code, out, _ = stampbench("submit", "check", runs, "--against", published, "--rescore", "0")
        assert code == 1
        return str(out)

    words = ["run", *copied_runs.options, "--strategy", "standard", "--data-root", copied_runs.data, "--folds", "0"]
    assert stampbench(*words, "--runs", "others", "--protocol-set", "max_epochs=1")[0] == 0
    out = output_of_refusal(Path("others"))
    assert "protocol 'quick (batch_size=2, max_epochs=1, folds=2)' is not one of the leaderboard's: quick (" in out
    assert "standard on hippocampus, 8 images: fold 1 is missing" in out
    (Path("others") / "timings").mkdir()
    assert "timings cannot be checked" in output_of_refusal(Path("others"))
    runs = pd.read_csv(published / "runs.csv").assign(data_checksum="0" * 64)
    runs.to_csv(published / "runs.csv", index=False)
    assert "the leaderboard's hippocampus 00000000" in output_of_refusal(copied_runs.runs)
    next(copied_runs.runs.glob("*/stamp_plus/*/model/weights.safetensors")).write_bytes(b"")
    assert "checksum mismatch" in output_of_refusal(copied_runs.runs)
    assert "its parent run 'shapes'" not in output_of_refusal(copied_runs.runs)
    shutil.rmtree(copied_runs.runs / "hippocampus" / "stamp_plus")
    runs.head(1).assign(run="0123456789ab").to_csv(published / "runs.csv", index=False)
    assert "its parent run 'shapes'" in output_of_refusal(copied_runs.runs)
    runs.assign(run="../../evil").to_csv(published / "runs.csv", index=False)
    code, _, err = stampbench("report", "--runs", published, "--output", "page")
    assert (code, "row 1: run='../../evil' is malformed" in err) == (2, True)
    code, _, err = stampbench("submit", "check", "no-such-folder")
    assert (code, "no runs at no-such-folder" in err) == (2, True)
