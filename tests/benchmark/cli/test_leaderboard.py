"""From the records of real runs to tables, figures, a page, published tables and a judged submission."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from stampbench.benchmark.cli.main import main
from stampbench.benchmark.config.spec import RunSpec
from stampbench.reports.figures import FIGURES

Command = Callable[..., tuple[int, str, str]]
_TINY = (
    "--dataset", "hippocampus", "--image-size", "16x16x8", "--protocol", "quick", "--protocol-set", "folds=2",
    "--protocol-set", "batch_size=2", "--protocol-set", "max_epochs=2", "--set", "f=2", "--set", "depth=1", "--quiet",
)  # fmt: skip
_PRUNE = ("--set", "filters_per_step=4", "--set", "recovery_epochs=1")


class Recorded(NamedTuple):
    runs: Path
    data: Path


@pytest.fixture(scope="module")
def made(write_decathlon: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A store of real runs on two folds and the data they were made from, made once."""
    root = tmp_path_factory.mktemp("made")
    classes = ("background", "front", "back")
    write_decathlon(root / "data", "Task04_Hippocampus", 10, (16, 16, 8), ("MRI",), classes)
    for words in (
        ("standard,stamp_plus,retrain_scratch", *_PRUNE, "--set", "step=selected"),
        ("stamp_plus", *_PRUNE[:2], "--set", "recovery_epochs=2"),
        ("stamp_plus", *_PRUNE, "--set", "base_dropout=0.4"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STAMPBENCH_CACHE", str(root / "cache"))
            patch.setenv("STAMPBENCH_DATA", str(root / "data"))
            patch.chdir(root)
            patch.setattr(sys, "argv", ["stampbench", "run", *_TINY, "--strategy", *words])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return Recorded(root / "runs", root / "data")


@pytest.fixture
def recorded(made: Recorded, tmp_path: Path) -> Recorded:
    """A copy that a test may spoil."""
    shutil.copytree(made.runs, tmp_path / "runs")
    return Recorded(tmp_path / "runs", made.data)


@pytest.mark.parametrize("name", [*(each for each in FIGURES if each != "latency_by_backend"), "segmentations"])
def test_every_figure_is_a_command(name: str, made: Recorded, stampbench: Command, tmp_path: Path) -> None:
    words = ["--data-root", made.data, "--strategy", _label(made, "standard")] if name == "segmentations" else []
    code, out, err = stampbench("figure", name.replace("_", "-"), "--runs", made.runs, *words)
    assert code == 0, err
    assert out == f"wrote {name}.svg, {name}.png\n"
    assert (tmp_path / f"{name}.svg").stat().st_size > 5_000


def test_figures_and_comparisons_refuse_in_one_line(made: Recorded, stampbench: Command, tmp_path: Path) -> None:
    for words, message in (
        (["figure", "latency-by-backend", "--backend"], "No such option"),
        (["figure", "pareto", "--strategy", "standard (f=2, depth=2)"], "did you mean 'standard (f=2, depth=1)'?"),
        (["figure", "pareto", "--dataset", "prostate"], "no finished runs of dataset 'prostate'"),
        (["figure", "pareto", "--output", tmp_path / "nowhere" / "x.svg"], "cannot write"),
        (["compare", "standard", "stamp_plus"], "unknown strategy or run 'standard'"),
        (["compare", "", "standard"], "unknown strategy or run ''"),
        (["report", "--output", Path("/dev/null/x")], "cannot write /dev/null/x"),
        (["leaderboard", "--n-train", 3], "no finished runs of n train '3'"),
    ):
        code, _, err = stampbench(*words, "--runs", made.runs)
        assert code == 2, words
        assert message in err
    code, _, err = stampbench("figure", "segmentations", "--runs", made.runs, "--data-root", tmp_path)
    assert (code, "not found" in err) == (2, True)


def test_compare_by_strategy_and_by_run(made: Recorded, stampbench: Command) -> None:
    first, second = _label(made, "standard"), _label(made, "stamp_plus")
    code, out, _ = stampbench("compare", first, second, "--runs", made.runs)
    assert code == 0
    runs = table(made)
    rows, others = (runs[runs["strategy"] == label].sort_values("fold") for label in (first, second))
    expected = rows["test_dice"].mean() - others["test_dice"].mean()
    assert f"{expected:+.4f}" in out
    ids = list(rows["run"])
    code, out, _ = stampbench("compare", ids[0][:9], ids[1], "--runs", made.runs)
    assert code == 0
    assert f"{first} of run {ids[0]} minus {first} of run {ids[1]}" in out


def test_commands_name_what_a_phantom_and_a_patch_were(make_run: Callable[..., Any], stampbench: Command) -> None:
    from stampbench.benchmark.config.dataset_description import DatasetDescription
    from stampbench.benchmark.config.rerun_command import rerun_command
    from stampbench.benchmark.environment.compute_settings import ComputeSettings
    from stampbench.benchmark.environment.provenance import environment

    for run in (
        make_run("stamp"),
        make_run("retrain_scratch", source_settings='{"f": 1}', step=0),
        make_run("flat", dataset="phantom3d:size=16,cases=9"),
    ):
        described = environment(ComputeSettings(device="cpu", kernels="plain", save_memory=True))
        words = shlex.split(rerun_command(run.spec, DatasetDescription.of(run.dataset), described))[1:]
        assert shlex.join(words).endswith(
            f"--device cpu --threads {torch.get_num_threads()} --kernels plain --save-memory"
        )
        code, out, err = stampbench(*words, "--dry-run")
        assert code == 0, err
        assert run.spec.id in out


def table(recorded: Recorded) -> pd.DataFrame:
    from stampbench.benchmark.records.tables import read_records

    return read_records(recorded.runs, []).runs


def _label(recorded: Recorded, name: str) -> str:
    """The shortest label of a strategy: that of its first variant."""
    return min(table(recorded).query("name == @name")["strategy"], key=len)


def test_latencies_are_recorded_and_shown(recorded: Recorded, stampbench: Command) -> None:
    runs = table(recorded).query("fold == 0").drop_duplicates("strategy")
    chosen = runs[runs["name"].isin(["standard", "stamp_plus"])]
    words = [
        "latency",
        *chosen["run"],
        "--runs",
        recorded.runs,
        "--backend",
        "eager",
        "--seconds",
        "1",
        "--threads",
        "1",
    ]
    code, _, err = stampbench(*words, "--record")
    assert code == 0, err
    (file,) = (recorded.runs / "timings").glob("*.csv")
    kept = pd.read_csv(file)
    assert set(kept["run"]) == set(chosen["run"])
    kept.assign(noisy_ratio=False).to_csv(file, index=False)  # the machine may be too noisy for the real ones
    code, out, _ = stampbench("leaderboard", "--runs", recorded.runs, "--format", "json")
    (board,) = json.loads(out)["boards"]
    ratios = {row["strategy"]: row["latency_ratio"] for row in board["rows"]}
    assert ratios[_label(recorded, "standard")] == 1
    assert sum(ratio is not None for ratio in ratios.values()) == len(chosen)
    assert any("eager backend, one image, interleaved timing" in note for note in board["notes"])
    assert stampbench("figure", "latency-by-backend", "--runs", recorded.runs)[0] == 0
    code, _, err = stampbench(*words, "--record", "--shape", "16,16,16")
    assert (code, "--record keeps timings of selected networks at their own size" in err) == (2, True)


def test_commands_beside_rows_make_the_same_runs(made: Recorded, recorded: Recorded, stampbench: Command) -> None:
    code, _, err = stampbench("publish", "--runs", recorded.runs, "--output", "tables")
    assert code == 0, err
    runs = pd.read_csv("tables/runs.csv")
    assert len(runs) == 12
    for row in runs.to_dict("records"):
        words = shlex.split(row["command"])
        assert words[0] == "stampbench"
        code, out, err = stampbench(*words[1:], "--runs", recorded.runs, "--data-root", made.data, "--dry-run")
        assert code == 0, err
        assert re.search(rf"{row['run']} .*cached", out), out


def test_published_tables_make_the_same_leaderboards_and_merge(recorded: Recorded, stampbench: Command) -> None:
    from_store = stampbench("leaderboard", "--runs", recorded.runs)[1]
    (recorded.runs.parent / "later").mkdir()
    (later,) = {path.parent for path in recorded.runs.glob("*/retrain_scratch/*")}
    shutil.move(later, recorded.runs.parent / "later" / later.name)
    assert stampbench("publish", "--runs", recorded.runs, "--output", "tables")[0] == 0
    shutil.move(recorded.runs.parent / "later" / later.name, later)
    before = Path("tables/runs.csv").read_text()
    assert stampbench("publish", "--runs", recorded.runs, "--output", "tables")[0] == 0
    assert len(Path("tables/runs.csv").read_text().splitlines()) == len(before.splitlines()) + 2
    assert stampbench("leaderboard", "--runs", "tables")[1] == from_store == Path("tables/boards.md").read_text()
    whole = {path.name: path.read_bytes() for path in Path("tables").iterdir()}
    assert stampbench("publish", "--runs", recorded.runs, "--output", "tables")[0] == 0
    assert whole == {path.name: path.read_bytes() for path in Path("tables").iterdir()}, (
        "publishing twice changes nothing"
    )


# A submission


@pytest.fixture
def published(made: Recorded, stampbench: Command, tmp_path: Path) -> Path:
    assert stampbench("publish", "--runs", made.runs, "--output", tmp_path / "tables")[0] == 0
    return tmp_path / "tables"


def tamper(folder: Path, change: Callable[[dict[str, Any], pd.DataFrame], pd.DataFrame | None]) -> None:
    """Change a record and its cases, and make the checksums fit, as somebody would who knows about them."""
    record = json.loads((folder / "run.json").read_text())
    cases = pd.read_csv(folder / "cases.csv", keep_default_na=False)
    changed = change(record, cases)
    if changed is not None:
        text = changed.to_csv(index=False)
        (folder / "cases.csv").write_text(text)
        record["files"]["cases.csv"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "run.json").write_text(json.dumps(record))


def better(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """Every Dice five per cent higher, and the summary with it."""
    cases["dice"] = (cases["dice"] * 1.05 + 0.01).clip(upper=0.999)
    record["summary"]["test_dice"] = cases["dice"].mean()
    return cases


def cleverly_better(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """Scores that voxel counts allow: as if every predicted voxel were right that can be."""
    least = cases[["predicted_voxels", "reference_voxels"]].min(axis=1)
    cases["dice"] = 2 * least / (cases["predicted_voxels"] + cases["reference_voxels"]).clip(lower=1)
    record["summary"]["test_dice"] = cases["dice"].mean()
    return cases


def smaller(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["parameters"] -= 1


def cheaper(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["macs"] //= 2


def rounder(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["test_dice"] += 0.01


def fewer(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """The worst case is left out."""
    worst = cases.groupby("case")["dice"].mean().idxmin()
    kept = cases[cases["case"] != worst]
    for name in ("dice", "hd95", "msd"):
        record["summary"][f"test_{name}"] = kept[name].mean()
    return kept


def nearer(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    cases["hd95"] = 0.1
    record["summary"]["test_hd95"] = 0.1
    return cases


def emptied(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    """Nothing to find and nothing found is Dice 1."""
    cases.loc[cases.index[0], ["dice", "predicted_voxels", "reference_voxels"]] = [1, 0, 0]
    record["summary"]["test_dice"] = cases["dice"].mean()
    return cases


def one_class(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    kept = cases[cases["class"] == "front"]
    for name in ("dice", "hd95", "msd"):
        record["summary"][f"test_{name}"] = kept[name].mean()
    return kept


def one_subject(record: dict[str, Any], cases: pd.DataFrame) -> pd.DataFrame:
    return cases.assign(subject="all")


def renamed(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["label"] = "stamp_plus"


def nameless(record: dict[str, Any], cases: pd.DataFrame) -> None:
    del record["summary"]["macs"]


def bogus(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["spec"]["hyperparameters"]["bogus"] = 1
    record["id"] = RunSpec.model_validate(record["spec"]).id


def free(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["summary"]["epochs"] = 1


def furlongs(record: dict[str, Any], cases: pd.DataFrame) -> None:
    record["dataset"]["unit"] = "furlong"


def test_honest_records_are_accepted(recorded: Recorded, published: Path, stampbench: Command) -> None:
    code, out, _ = stampbench("submit", "check", recorded.runs, "--against", published, "--data-root", recorded.data)
    assert code == 0, out
    assert out.splitlines()[-1] == "accepted: 12 runs, 24 cases segmented again"
    code, out, _ = stampbench("submit", "check", recorded.runs, "--data-root", "nowhere")
    assert (code, "was not segmented again: dataset 'hippocampus': folder" in out) == (0, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (better, "is impossible with"),
        (cleverly_better, "but its network reaches"),
        (smaller, "parameters, but its network"),
        (cheaper, "macs, its summary says"),
        (rounder, "its summary says test dice"),
        (fewer, "its test cases, their classes, subjects or labelled voxels are not"),
        (nearer, "its network reaches"),
        (emptied, "labelled voxels are not those"),
        (one_class, "does not have each of"),
        (one_subject, "its test cases, their classes, subjects"),
        (renamed, "its strategy is called 'stamp_plus', but is"),
        (nameless, "incomplete record: missing summary.macs"),
        (bogus, "its strategy cannot be checked"),
        (free, "epochs, its trajectory"),
        (furlongs, "its unit is furlong, the leaderboard's mm"),
    ],
)
def test_tampered_records_are_refused(
    change: Callable[..., pd.DataFrame | None], reason: str, recorded: Recorded, published: Path, stampbench: Command
) -> None:
    folder = next(recorded.runs.glob("*/standard/*"))
    tamper(folder, change)
    id = json.loads((folder / "run.json").read_text())["id"]
    folder.rename(folder.with_name(id))
    words = ["submit", "check", recorded.runs, "--against", published, "--data-root", recorded.data, "--rescore", "all"]
    code, out, _ = stampbench(*words)
    assert code == 1
    assert any(line.startswith("refused: ") and reason in line for line in out.splitlines()), out


def test_a_missing_fold_another_protocol_and_other_data_are_refused(
    recorded: Recorded, published: Path, stampbench: Command
) -> None:
    def refused(runs: Path) -> str:
        code, out, _ = stampbench("submit", "check", runs, "--against", published, "--rescore", "0")
        assert code == 1
        return str(out)

    words = ["run", *_TINY, "--strategy", "standard", "--data-root", recorded.data, "--folds", "0"]
    assert stampbench(*words, "--runs", "others", "--protocol-set", "max_epochs=1")[0] == 0
    out = refused(Path("others"))
    assert "protocol 'quick (batch_size=2, max_epochs=1, folds=2)' is not one of the leaderboard's: quick (" in out
    assert "standard on hippocampus, 8 images: fold 1 is missing" in out
    (Path("others") / "timings").mkdir()
    assert "timings cannot be checked" in refused(Path("others"))
    runs = pd.read_csv(published / "runs.csv").assign(data_checksum="0" * 64)
    runs.to_csv(published / "runs.csv", index=False)
    assert "the leaderboard's hippocampus 00000000" in refused(recorded.runs)
    next(recorded.runs.glob("*/stamp_plus/*/model/weights.safetensors")).write_bytes(b"")
    assert "checksum mismatch" in refused(recorded.runs)
    assert "source 'shapes'" not in refused(recorded.runs)
    shutil.rmtree(recorded.runs / "hippocampus" / "stamp_plus")
    runs.assign(run="0123456789ab").to_csv(published / "runs.csv", index=False)
    assert "its parent run 'shapes'" in refused(recorded.runs)
    runs.assign(run="../../evil").to_csv(published / "runs.csv", index=False)
    code, _, err = stampbench("report", "--runs", published, "--output", "page")
    assert (code, "'../../evil' is no run's id" in err) == (2, True)
    code, _, err = stampbench("submit", "check", "no-such-folder")
    assert (code, "no runs at no-such-folder" in err) == (2, True)


# Odd stores


def test_stores_with_little_in_them(recorded: Recorded, stampbench: Command, tmp_path: Path) -> None:
    """One run; without its timings; none finished; one failed."""
    (keep, *others) = recorded.runs.glob("*/standard/*")
    for folder in (*others, *recorded.runs.glob("*/stamp_plus/*"), *recorded.runs.glob("*/retrain_scratch/*")):
        shutil.rmtree(folder)

    def everything(code: int) -> str:
        told = ""
        for words in (["leaderboard"], ["report", "--output", "page", "--no-pictures"], ["figure", "pareto"],
                      ["publish", "--output", "tables"]):  # fmt: skip
            found, out, err = stampbench(*words)
            assert found == code, (words, err)
            assert "Traceback" not in err
            told += out + err
        return told

    everything(0)
    assert (tmp_path / "page" / "runs" / f"{keep.name}.html").is_file()
    record = json.loads((keep / "run.json").read_text())
    (keep / "latency.csv").write_text("\n")
    record["files"]["latency.csv"] = hashlib.sha256(b"\n").hexdigest()
    (keep / "run.json").write_text(json.dumps(record))
    everything(0)
    (keep / "run.json").write_text(json.dumps(record | {"status": "failed", "reason": "memory ran out"}))
    assert everything(2).count("no finished runs") == 4
