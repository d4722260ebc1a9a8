"""The script of `make gpu`: time limits, refusals, what it executes, and publication; the stages in short on a CPU."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

ROOT = Path(__file__).parent.parent
MACHINE = {
    "device": "cuda:0", "processor": "Some GPU", "driver": "580.1", "cuda": "13.0", "cudnn": "91500",
    "python": "3.12.3", "torch": "2.11.0", "commit": "0123456789ab",
}  # fmt: skip


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Function that imports a script of the folder `tools`."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield import_module
    for name in ("gpu", "gpu_stages", "gpu_publish"):
        sys.modules.pop(name, None)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_stage_ends_at_its_limit_with_everything_that_it_started(
    scripts: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = scripts("gpu_stages")
    child = f"import time; time.sleep(1.5); open({str(tmp_path / 'late')!r}, 'w')"
    start_child = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    written = tmp_path / "output.txt"
    commands = [stages.Command(python("print('hello')"), written), stages.Command(python(start_child))]
    said: list[str] = []
    monkeypatch.setattr(stages, "_GRACE", 1)
    started = time.monotonic()
    succeeded = stages.execute(
        stages.Stage(1, lambda place: iter([*commands, *commands])), stages.Place("cuda", tmp_path), said.append
    )
    assert not succeeded
    assert time.monotonic() - started < 10
    assert written.read_text() == "hello\n"
    assert said == [f"reached its limit of 1 s: -c {start_child} …"]
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()


def test_interrupted_command_may_write_what_it_has(scripts: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """As pytest writes its table; a file of output, however, is there only when the command has succeeded."""
    stages, kept = scripts("gpu_stages"), tmp_path / "kept.txt"
    code = (
        "import signal, time, sys; signal.signal(signal.SIGINT, signal.default_int_handler); print('half')\n"
        f"try: time.sleep(60)\nexcept KeyboardInterrupt: open({str(kept)!r}, 'w').write('rows'); sys.exit(1)"
    )
    command = stages.Command(python(code), tmp_path / "output.txt")
    assert not stages.execute(stages.Stage(1, lambda place: iter([command])), stages.Place("cuda", tmp_path), print)
    assert kept.read_text() == "rows"
    assert not (tmp_path / "output.txt").exists()


def test_failed_command_fails_the_stage_and_the_next_one_is_executed(
    scripts: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    stages = scripts("gpu_stages")
    commands = [stages.Command(python("raise SystemExit(3)")), stages.Command(python("print(1)"), tmp_path / "one")]
    said: list[str] = []
    assert not stages.execute(
        stages.Stage(60, lambda place: iter(commands)), stages.Place("cpu", tmp_path), said.append
    )
    assert said == ["exit code 3: -c raise SystemExit(3)"]
    assert (tmp_path / "one").read_text() == "1\n"


def test_limits_leave_a_part_of_ten_minutes(scripts: Callable[[str], ModuleType]) -> None:
    """Each stage may take a little longer to end."""
    stages = scripts("gpu_stages").STAGES
    assert sum(each.seconds + 10 for each in stages.values()) < 600
    page = (ROOT / "docs" / "guides" / "gpu.md").read_text()
    assert [name for name, each in stages.items() if f"| `gpu-{name}` | {each.seconds} s |" not in page] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["checks", "--device", "cuda:99"], "error: device 'cuda:99' is not available"),
        (["publish", "--output", "nothing"], "nothing; run 'make gpu' first"),
        (["checks", "publish", "--device", "cpu"], "publish stands alone"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], message: str, scripts: Callable[[str], ModuleType], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert scripts("gpu").main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_checks_on_a_gpu_are_all_files_with_the_marker(scripts: Callable[[str], ModuleType], tmp_path: Path) -> None:
    """Only these are collected: others may import packages that the machine lacks."""
    stages = scripts("gpu_stages")
    (command,) = stages.checks(stages.Place("cuda", tmp_path))
    files = {Path(word) for word in command.words if word.endswith(".py")}
    mark = "pytest.mark." + "gpu"  # in two parts, because this file has no such tests
    marked = {path for path in (ROOT / "tests").rglob("test_*.py") if mark in path.read_text()}
    assert files == {path for path in marked if path.parent.name != "perf"}
    assert ROOT / "tests" / "gpu" / "test_commands.py" in files
    (rehearsal,) = stages.checks(stages.Place("cpu", tmp_path))
    assert {Path(word).parent.name for word in rehearsal.words if word.endswith(".py")} == {"gpu"}


def test_stage_of_runs_in_short(
    scripts: Callable[[str], ModuleType], stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """The commands of the rehearsal are executed in this process, the first run only."""
    stages = scripts("gpu_stages")
    executed = []
    for command in stages.runs(stages.Place("cpu", tmp_path)):
        words = command.words[3:]
        if "phantom3d:size=16,cases=14" in words:
            continue
        if words[0] == "figure":  # this machine may be too noisy to leave anything to draw
            for path in tmp_path.glob("runs/timings/*.csv"):
                pd.read_csv(path).assign(noisy_ratio=False).to_csv(path, index=False)
        code, out, err = stampbench(*words)
        assert code == 0, err
        executed.append(words[0])
        if command.output:
            command.output.write_text(out)
    assert executed == ["run", "latency", "latency", "figure", "latency", "figure"]
    networks = set(pd.read_csv(tmp_path / "latency_networks_phantom2d_eager.csv")["network"])
    assert {name.split()[0] for name in networks} == {"standard", "stamp_plus", "flat", "pocket_unet", "swift"}
    assert (tmp_path / "latency_along_pruning.svg").stat().st_size > 5_000
    tables = [pd.read_csv(each) for each in sorted(tmp_path.glob("latency_*_[01].csv"))]
    assert [set(each["timing"]) for each in tables] == [{"wall"}, {"throughput"}]
    assert all(len(set(each["step"])) == 3 for each in tables)
    assert "saturated throughput" in next(tmp_path.glob("latency_*_1.md")).read_text()


def test_real_runs_name_known_strategies_datasets_and_backends(
    scripts: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    from stampbench.benchmark.measure.backends import BACKENDS
    from stampbench.datasets.catalogue import CATALOGUE
    from stampbench.strategies.registry import STRATEGIES

    stages = scripts("gpu_stages")
    assert {name for each in stages.RUNS for name in each.strategies.split(",")} <= set(STRATEGIES)
    assert {each.dataset for each in stages.RUNS} <= set(CATALOGUE)
    assert sum(len(each.strategies.split(",")) for each in stages.RUNS) == 4
    options = stages.latencies(stages.Place("cuda", tmp_path))
    named = {name for words in options for name in words[words.index("--backend") + 1].split(",")}
    assert named == {"eager", "cudagraph", "fast"}
    assert named <= set(BACKENDS)


def write_results(folder: Path, device: str = "cuda:0") -> None:
    folder.mkdir(parents=True)
    (folder / "machine.json").write_text(json.dumps(MACHINE | {"device": device}))
    (folder / "bench.md").write_text("<!-- bench: begin -->\n| what |\n<!-- bench: end -->\n")
    (folder / "bench.csv").write_text("what,measured\na,1\n")
    for number in range(2):
        (folder / f"latency_a_{number}.csv").write_text(f"network,p50_ms\nn,{number}\n")
        (folder / f"latency_a_{number}_rounds.csv").write_text("round\n0\n")
        (folder / f"latency_a_{number}.md").write_text(f"table {number}\n")
    (folder / "latency_along_pruning.svg").write_text("<svg/>")
    (folder / "checks.xml").write_text(
        "<testsuites><testsuite><testcase classname='a' name='one' time='1.5'/>"
        "<testcase classname='a' name='two' time='2'><failure message='not\nequal'>x</failure></testcase>"
        "<testcase classname='a' name='three' time='0'><skipped message='no data'/></testcase></testsuite></testsuites>"
    )


def test_results_are_published_between_the_markers(
    scripts: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, executed = scripts("gpu_publish"), list[list[str]]()
    monkeypatch.setattr(
        publish, "_stampbench", lambda *words, folder=None: executed.append([str(each) for each in words])
    )
    write_results(tmp_path / "results")
    publish.write_checks(tmp_path / "results")
    with (tmp_path / "results" / "checks.csv").open(newline="") as file:
        rows = [(row["check"], row["outcome"], row["reason"]) for row in csv.DictReader(file)]
    assert rows == [("a::one", "passed", ""), ("a::two", "failed", "not equal"), ("a::three", "skipped", "no data")]
    for name in ("docs", "leaderboards"):
        (tmp_path / name).mkdir()
    pages = [tmp_path / "docs" / "performance.md", tmp_path / "leaderboards" / "latency.md"]
    for page in pages:
        page.write_text("before\n<!-- gpu: begin -->\nnothing yet\n<!-- gpu: end -->\nafter\n")
    for _ in range(2):  # a second publication changes nothing
        publish.publish(tmp_path / "results", tmp_path)
    speed, latency = (page.read_text() for page in pages)
    line = "Some GPU, driver 580.1, CUDA 13.0, cuDNN 91500, Python 3.12.3, torch 2.11.0, commit 0123456789ab."
    checks = "Checks: 1 passed, 1 failed, 1 skipped.\n- a::two: failed (not equal)\n- a::three: skipped (no data)"
    assert speed == f"before\n<!-- gpu: begin -->\n{line}\n\n{checks}\n\n| what |\n<!-- gpu: end -->\nafter\n"
    drawn = "<!-- stampbench figure latency-along-pruning --runs leaderboards/gpu -->\n![latency along pruning]"
    assert f"{drawn}(latency_along_pruning.svg)\n\ntable 0\n\ntable 1\n<!-- gpu: end -->" in latency
    assert [words[0] for words in executed] == ["publish", "figure"] * 2
    assert executed[0] == [
        "publish",
        "--runs",
        str(tmp_path / "results/runs"),
        "--output",
        str(tmp_path / "leaderboards/gpu"),
    ]
    assert (tmp_path / "leaderboards" / "gpu_latency.csv").read_text() == "network,p50_ms\nn,0\nn,1\n"
    assert (tmp_path / "leaderboards" / "gpu_bench.csv").is_file()


def test_rehearsals_are_not_published(scripts: Callable[[str], ModuleType], tmp_path: Path) -> None:
    write_results(tmp_path / "results", "cpu")
    with pytest.raises(ValueError, match="are a rehearsal on 'cpu' and are not published"):
        scripts("gpu_publish").publish(tmp_path / "results", tmp_path)


def test_documents_have_the_markers(scripts: Callable[[str], ModuleType]) -> None:
    publish = scripts("gpu_publish")
    for path in ("docs/performance.md", "leaderboards/latency.md"):
        text = (ROOT / path).read_text()
        assert (text.count(publish.BEGIN), text.count(publish.END)) == (1, 1), path


def test_results_of_another_machine_are_not_continued(
    scripts: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gpu, stages = scripts("gpu"), scripts("gpu_stages")
    places: list[object] = []
    monkeypatch.setattr(gpu, "_execute", lambda place, names: places.append(place) or 0)
    assert (
        gpu.main(["checks", "--device", "auto" if not torch.cuda.is_available() else "cpu", "--output", str(tmp_path)])
        == 0
    )
    assert places == [stages.Place("cpu", tmp_path)]  # a rehearsal, whatever the device was called
    assert gpu.main(["bench", "--device", "cpu", "--output", str(tmp_path)]) == 0
    (tmp_path / "machine.json").write_text(json.dumps(MACHINE))
    assert gpu.main(["bench", "--device", "cpu", "--output", str(tmp_path)]) == 2
    assert "has results of another machine or commit; delete it" in capsys.readouterr().err
    assert len(places) == 2
