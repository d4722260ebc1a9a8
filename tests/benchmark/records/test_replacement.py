"""Replacement of finished runs, killed between every two steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.replacement import complete_replacement, forced_folder, replace_run
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.tables import read_records
from stampbench.benchmark.records.verify import verify_store

KilledBefore = Callable[[int, Callable[[], object]], bool]


def test_one_of_two_records_is_visible_whenever_the_process_is_killed(
    make_run: Callable[..., Run], perform: Callable[..., Any], killed_before: KilledBefore, tmp_path: Path
) -> None:
    run, store = make_run("standard"), RunStore(tmp_path / "runs")
    perform(run, store)
    folder = store.folder(run.spec)
    forced = forced_folder(folder)
    shutil.copytree(folder, forced)
    record = json.loads((forced / "run.json").read_text()) | {"begun": "again"}
    (forced / "run.json").write_text(json.dumps(record))
    shutil.copytree(tmp_path / "runs", tmp_path / "before")
    seen: list[str] = []
    for number in range(10):
        shutil.rmtree(tmp_path / "runs")
        shutil.copytree(tmp_path / "before", tmp_path / "runs")
        killed = killed_before(number, lambda: replace_run(folder))
        problems: list[str] = []
        assert store.status(run.spec) == "finished"
        assert [status.state for status in verify_store(store)] == ["finished"]
        assert list(read_records(store.root, problems).runs["run"]) == [run.spec.id]
        assert problems == []
        seen.append(store.read(run.spec)[1].begun)
        if not killed:
            break
    assert not killed
    assert set(seen) == {
        "again",
        json.loads((tmp_path / "before" / folder.relative_to(store.root) / "run.json").read_text())["begun"],
    }
    assert seen == sorted(seen, key=lambda begun: begun == "again"), "never the older one after the newer one"
    assert [path.name for path in folder.parent.iterdir() if path.name != folder.name] == []


def test_only_finished_runs_replace_a_missing_one(finished_run: Path) -> None:
    forced = forced_folder(finished_run)
    finished_run.rename(forced)
    record = (forced / "run.json").read_text()
    (forced / "run.json").write_text(record.replace('"finished"', '"running"'))
    assert not complete_replacement(finished_run)
    (forced / "run.json").write_text(record)
    for name in ("..forced", ".x.forced", ".....forced"):
        (finished_run.parent / name).mkdir()
        (finished_run.parent / name / "run.json").write_text(record)
    (store := RunStore(finished_run.parents[2])).paths()
    assert [path.parent for path in store.paths()] == [finished_run]
    assert sorted(path.name for path in finished_run.parent.iterdir()) == [
        ".....forced",
        "..forced",
        ".x.forced",
        finished_run.name,
    ]
