"""Results of `make gpu` in the documents: tables between markers, CSV files and a figure beside the leaderboards."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from gpu_stages import STAMPBENCH

if TYPE_CHECKING:
    import torch

BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"


def machine(device: torch.device, commit: str | None) -> dict[str, str]:
    """Return what results depend on: device, driver, CUDA, cuDNN, Python, PyTorch and commit.

    Args:
        device: the device.
        commit: commit of a copy of the project without git; None: that of the checkout.
    """
    import platform

    import torch

    from stampbench.benchmark.environment.machine import timing_machine
    from stampbench.benchmark.environment.provenance import provenance

    described, code = timing_machine(device), provenance()
    commit = code.git_commit or commit or "unknown"
    return {
        "device": described.device,
        "processor": described.processor,
        "driver": described.driver,
        "cuda": torch.version.cuda or "",
        "cudnn": str(torch.backends.cudnn.version() or ""),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit[:12] + (" with changes" if code.git_dirty else ""),
    }


def write_checks(output: Path) -> None:
    """Write the outcome of every check as `checks.csv`, from pytest's report."""
    report = output / "checks.xml"
    if not report.is_file():  # pytest reached the time limit
        return
    with (output / "checks.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["check", "outcome", "seconds", "reason"])
        for case in ElementTree.parse(report).iter("testcase"):
            problem = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
            outcome = "passed" if problem is None else {"failure": "failed"}.get(problem.tag, problem.tag)
            reason = "" if problem is None else " ".join(problem.get("message", "").split())[:200]
            rows.writerow([f"{case.get('classname')}::{case.get('name')}", outcome, case.get("time"), reason])


def publish(output: Path, root: Path) -> None:
    """Write the results of those stages that were executed into `docs/performance.md` and `leaderboards/`.

    Runs are published in `leaderboards/gpu/`, so that the figure can be drawn again.

    Args:
        output: folder of the results.
        root: the project's folder.

    Raises:
        ValueError: when there are no results, or they are those of a rehearsal on a CPU.
    """
    described = output / "machine.json"
    if not described.is_file():
        raise ValueError(f"no results in {output}; run 'make gpu' first")
    facts: dict[str, str] = json.loads(described.read_text())
    if not facts["device"].startswith("cuda"):
        raise ValueError(f"the results in {output} are a rehearsal on '{facts['device']}' and are not published")
    line = (
        f"{facts['processor']}, driver {facts['driver']}, CUDA {facts['cuda']}, cuDNN {facts['cudnn']}, Python "
        f"{facts['python']}, torch {facts['torch']}, commit {facts['commit']}."
    )
    boards = root / "leaderboards"
    bench = (output / "bench.md").read_text() if (output / "bench.md").is_file() else ""
    if "|" in bench:  # a stage that was stopped early leaves a page without a table
        speed = bench.split("<!-- bench: begin -->")[1].split("<!-- bench: end -->")[0]
        replace(root / "docs" / "performance.md", f"{line}\n\n{_checks(output)}{speed.strip()}\n")
    tables = [path.read_text().strip() for path in sorted(output.glob("latency_*.md"))]
    if (output / "latency_along_pruning.svg").is_file():
        _stampbench("publish", "--runs", output / "runs", "--output", boards / "gpu")
        command = ["figure", "latency-along-pruning", "--runs", "leaderboards/gpu"]
        _stampbench(*command, "--output", boards / "latency_along_pruning.svg", folder=root)
        drawn = f"<!-- stampbench {' '.join(command)} -->\n![latency along pruning](latency_along_pruning.svg)"
        tables.insert(0, drawn)
    if tables:
        replace(boards / "latency.md", "\n\n".join([line, *tables]) + "\n")
    if (output / "bench.csv").is_file():
        shutil.copy(output / "bench.csv", boards / "gpu_bench.csv")
    _join(sorted(each for each in output.glob("latency_*.csv") if not each.stem.endswith("_rounds")),
          boards / "gpu_latency.csv")  # fmt: skip


def replace(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page.

    Raises:
        ValueError: when the page does not have both markers once.
    """
    before = page.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(before)) != 1:
        raise ValueError(f"{page}: '{BEGIN}' and '{END}' are not there once")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}{END}", before))


def _stampbench(*words: str | Path, folder: Path | None = None) -> None:
    """Execute a command, in a folder."""
    subprocess.run([*STAMPBENCH, *map(str, words)], cwd=folder, check=True)


def _checks(output: Path) -> str:
    path = output / "checks.csv"
    if not path.is_file():
        return ""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    counts = {name: sum(row["outcome"] == name for row in rows) for name in ("passed", "failed", "error", "skipped")}
    lines = [f"- {row['check']}: {row['outcome']} ({row['reason']})" for row in rows if row["outcome"] != "passed"]
    summary = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    return "\n".join([f"Checks: {summary or 'none'}.", *lines]) + "\n\n"


def _join(paths: list[Path], target: Path) -> None:
    """Write the rows of CSV files with the same header into one."""
    lines = [path.read_text().splitlines() for path in paths]
    if lines:
        target.write_text("\n".join([lines[0][0], *(row for each in lines for row in each[1:])]) + "\n")
