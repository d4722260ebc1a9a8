"""The command `stampbench leaderboard`, and stores with few runs."""

from __future__ import annotations

import csv
import gc
import hashlib
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]
PUBLISHED = Path(__file__).parents[3] / "leaderboards"
UNWANTED = {"torch", "monai", "matplotlib", "seaborn", "scipy.stats", "scipy.optimize", "nibabel", "sklearn", "PIL"}


def test_filter_without_runs_is_refused(recorded_runs: Any, stampbench: Command) -> None:
    code, _, err = stampbench("leaderboard", "--n-train", 3, "--runs", recorded_runs.runs)
    assert code == 2
    assert f"no finished runs of n-train '3' at {recorded_runs.runs}; known: 8\n" in err
    code, _, err = stampbench("leaderboard", "--dataset", "hipocampus", "--n-train", 3, "--runs", recorded_runs.runs)
    assert code == 2
    assert "dataset 'hipocampus' at" in err
    assert "; did you mean 'hippocampus'? known: hippocampus\n" in err


def test_commands_that_need_a_store_refuse_published_tables(stampbench: Command, tmp_path: Path) -> None:
    tables = PUBLISHED / "swift_comparison"
    for words in (["store", "check"], ["store", "migrate"], ["export", "zzz"], ["latency", "zzz"],
                  ["publish", "--output", tmp_path / "tables"]):  # fmt: skip
        code, _, err = stampbench(*words, "--runs", tables)
        assert (code, err) == (2, f"error: {tables} holds published tables, and not a store of runs; see --runs\n")
    code, _, err = stampbench("submit", "check", tables)
    assert code == 2
    assert err.startswith(f"error: {tables} holds published tables; a submission is the folder")


def test_short_tables_are_not_written_to_a_file(stampbench: Command, tmp_path: Path) -> None:
    words = ("leaderboard", "--runs", PUBLISHED / "swift_comparison", "--output", tmp_path / "table")
    code, _, err = stampbench(*words, "--format", "short")
    assert code == 2
    assert err == "error: --format 'short' is for the screen; with --output: md, csv, json or latex\n"
    assert not (tmp_path / "table").exists()


def test_commands_handle_stores_with_one_run_or_none(copied_runs: Any, stampbench: Command, tmp_path: Path) -> None:
    """The store has one finished run, then one without timings, then one failed run."""
    (keep, *others) = copied_runs.runs.glob("*/standard/*")
    for folder in (*others, *copied_runs.runs.glob("*/stamp_plus/*"), *copied_runs.runs.glob("*/retrain_scratch/*")):
        shutil.rmtree(folder)

    def outputs_of_all_commands(code: int) -> str:
        outputs = ""
        for words in (["leaderboard"], ["report", "--output", "page", "--no-pictures"], ["figure", "pareto"],
                      ["publish", "--output", "tables"]):  # fmt: skip
            returned, out, err = stampbench(*words)
            assert returned == code, (words, err)
            assert "Traceback" not in err
            outputs += out + err
        return outputs

    outputs_of_all_commands(0)
    assert (tmp_path / "page" / "runs" / f"{keep.name}.html").is_file()
    record = json.loads((keep / "run.json").read_text())
    (keep / "latency.csv").write_text("\n")
    record["files"]["latency.csv"] = hashlib.sha256(b"\n").hexdigest()
    (keep / "run.json").write_text(json.dumps(record))
    outputs_of_all_commands(0)
    (keep / "run.json").write_text(json.dumps(record | {"status": "failed", "reason": "memory ran out"}))
    assert outputs_of_all_commands(2).count("no finished runs") == 4


def test_limits_leave_out_rows_and_the_answer_comes_first(recorded_runs: Any, stampbench: Command) -> None:
    words = ("leaderboard", "--runs", recorded_runs.runs)
    code, out, _ = stampbench(*words, "--max-parameters", "0.1k")
    assert code == 0
    assert ": Up to 100 parameters: no strategy. The least is " in out.splitlines()[0]
    code, out, _ = stampbench(*words, "--max-parameters", "1M", "--format", "short")
    assert code == 0
    assert "Up to 1 M parameters: " in out
    assert recorded_runs.label("standard").split()[0] in out
    code, _, err = stampbench(*words, "--max-latency", "fast")
    assert (code, "'fast' is not a number above 0, such as 20k, 1.5M or 0.9" in err) == (2, True)


def cpu_seconds(*words: str) -> float:
    """Return the processor time of Python with some arguments, which other processes hardly change."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module")
def published_245(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published tables with the 245 runs of the protocol cpu."""
    root, runs = tmp_path_factory.mktemp("published"), set[str]()
    for name in ("runs", "cases", "timings"):
        with (PUBLISHED / f"{name}.csv").open(newline="") as source, (root / f"{name}.csv").open("w") as copy:
            reader = csv.DictReader(source)
            writer = csv.DictWriter(copy, reader.fieldnames or (), lineterminator="\n")
            writer.writeheader()
            for row in reader:
                if name == "runs" and row["protocol"].startswith("cpu"):
                    runs.add(row["run"])
                if row["run"] in runs:
                    writer.writerow(row)
    assert len(runs) == 245
    return root


def test_leaderboard_of_245_runs_takes_less_than_one_and_a_half_seconds(published_245: Path) -> None:
    """A machine that takes longer than half a second to import pandas and scipy.special has more."""
    imports = max(cpu_seconds("-c", "import pandas, scipy.special") for _ in range(2))
    words = ("-m", "stampbench.benchmark", "leaderboard", "--runs", str(published_245))
    taken = min(cpu_seconds(*words) for _ in range(2))
    assert taken < 1.5 * max(imports / 0.5, 1), imports


def test_reading_records_imports_nothing_that_it_does_not_need(recorded_runs: Any) -> None:
    """PyTorch alone would double the time of the command."""
    words = ["leaderboard", "--runs", str(recorded_runs.runs)]
    code = (
        "import sys; from click.testing import CliRunner; from stampbench.benchmark.cli.main import cli; "
        f"done = CliRunner().invoke(cli, {words!r}, standalone_mode=False); "
        f"print(done.exception, {UNWANTED!r} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None set()\n"


def test_garbage_is_collected_again_after_the_command(recorded_runs: Any, stampbench: Command) -> None:
    assert stampbench("leaderboard", "--runs", recorded_runs.runs, "--n-train", 3)[0] == 2
    assert gc.isenabled()
