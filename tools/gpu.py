"""Test a GPU: checks, speed, and real runs; `make gpu` calls it, and docs/guides/gpu.md explains it.

python tools/gpu.py checks bench runs --device cuda --output build/gpu
python tools/gpu.py publish --output build/gpu
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import gpu_publish
import gpu_stages


def main(words: list[str] | None = None) -> int:
    """Execute stages, or publish their results; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*gpu_stages.STAGES, "publish"])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a rehearsal in miniature")
    parser.add_argument("--commit", help="commit of a copy of the project without git")
    parser.add_argument("--output", type=Path, default=Path("build/gpu"), help="folder of the results")
    chosen = parser.parse_args(words)
    place = gpu_stages.Place(chosen.device, chosen.output.absolute())
    try:
        if chosen.stages == ["publish"]:
            gpu_publish.publish(place.output, gpu_stages.ROOT)
            return 0
        place = _checked(place, chosen.stages, chosen.commit)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return _execute(place, chosen.stages)


def _checked(place: gpu_stages.Place, stages: list[str], commit: str | None) -> gpu_stages.Place:
    """Check that the device and, for real runs, the data are there, write down the machine, and name the device.

    Raises:
        ValueError: when they are not, or the folder has results of another machine or commit.
    """
    from stampbench.benchmark.environment.device import choose_device
    from stampbench.benchmark.errors import UserError

    if "publish" in stages:
        raise ValueError("publish stands alone: results are looked at before they are published")
    try:
        device = choose_device(place.device)
    except UserError as error:
        raise ValueError(f"{error}; 'make gpu-miniature' rehearses on a CPU") from None
    data = os.environ.get("STAMPBENCH_DATA", "")
    if not place.miniature and set(stages) & {"bench", "runs"} and not Path(data or "absent").is_dir():
        raise ValueError("STAMPBENCH_DATA names no folder; it has to hold the datasets hippocampus and dsb2018")
    place.output.mkdir(parents=True, exist_ok=True)
    described, facts = place.output / "machine.json", gpu_publish.machine(device, commit)
    if described.is_file() and json.loads(described.read_text()) != facts:
        raise ValueError(f"{place.output} has results of another machine or commit; delete it, or choose --output")
    described.write_text(json.dumps(facts, indent=1) + "\n")
    return place._replace(device=str(device))


def _execute(place: gpu_stages.Place, stages: list[str]) -> int:
    failed = []
    for name in stages:
        started = time.monotonic()
        stage = gpu_stages.STAGES[name]
        print(f"== {name}, at most {gpu_stages.limit(stage, place)} s", flush=True)
        succeeded = gpu_stages.execute(stage, place, lambda text, name=name: print(f"{name}: {text}", file=sys.stderr))
        if name == "checks":
            gpu_publish.write_checks(place.output)
        print(f"== {name}: {'passed' if succeeded else 'FAILED'} after {time.monotonic() - started:.0f} s", flush=True)
        failed += [] if succeeded else [name]
    print(f"results: {place.output}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
