"""Mutated records, tables and resume states, and random command lines: success, or one line and exit code 2."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stampbench.benchmark.cli.main import cli
from stampbench.benchmark.environment import progress

FUZZ = settings.get_profile("fuzz")


def fuzz(share: float = 1) -> settings:
    """Return the settings of a test that gets a share of the examples."""
    return settings(FUZZ, max_examples=max(2, int(share * FUZZ.max_examples)))


DATA = st.data()
Data = st.DataObject


def check_boards(text: str) -> None:
    """Check that no leaderboard shows an impossible number."""
    for board in json.loads(text)["boards"]:
        for row in board["rows"]:
            for name in ("dice", "dice_low", "dice_high", "nsd", "empty_rate"):
                assert row[name] is None or 0 <= row[name] <= 1, (name, row[name])
            for name in ("hd95_median", "hd95_p90", "hd95_nonempty"):
                value = row[name]
                assert value in (None, "empty") or (value >= 0 and math.isfinite(value)), (name, value)
            assert row["parameters"] > 0
            assert row["epochs"] >= 0


def read_commands(sandbox: Any, runs: Path) -> list[tuple[object, ...]]:
    """Return commands that read records, and write into the present folder."""
    return [
        ("leaderboard", "--runs", runs),
        ("leaderboard", "--runs", runs, "--format", "latex"),
        ("compare", "standard", "standard", "--runs", runs),
        ("figure", "pareto", "--runs", runs, "--output", "p.svg"),
        ("report", "--runs", runs, "--output", "page", "--no-pictures"),
        ("publish", "--runs", runs, "--output", "tables"),
    ]


@fuzz()
@given(data=DATA)
def test_record(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin(materials / "runs")
    record = data.draw(st.sampled_from(sorted(sandbox.input.rglob("run.json"))))
    if data.draw(st.booleans()):
        record.write_bytes(edit.json(data, json.loads(record.read_text())))
    else:
        table = record.parent / data.draw(st.sampled_from(["cases.csv", "trajectory.csv", "latency.csv", "pruned.csv"]))
        if table.is_file():
            table.write_text(edit.table(data, table.read_text()), errors="surrogatepass")
            if data.draw(st.integers(0, 4)):
                edit.sign(record)
    runs = sandbox.input
    words = data.draw(
        st.sampled_from(
            [
                *read_commands(sandbox, runs),
                ("store", "check", "--runs", runs),
                ("store", "migrate", "--runs", runs),
                ("predict", record.parent, "no.png", "--output", "labels"),
                ("export", record.parent, "--format", "pt2"),
            ]
        )
    )
    sandbox.attempt(*words, writes_input=words[1] == "migrate")
    code, text = sandbox.attempt("leaderboard", "--runs", runs, "--format", "json")
    if code == 0:
        check_boards(text)


@fuzz(0.5)
@given(data=DATA)
def test_submission(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    """What is accepted can be published."""
    sandbox.begin(materials / "runs")
    record = data.draw(st.sampled_from(sorted(sandbox.input.rglob("run.json"))))
    name = data.draw(st.sampled_from(["run.json", "cases.csv", "trajectory.csv", "model/architecture.json"]))
    path = record.parent / name
    if name.endswith("json"):
        path.write_bytes(edit.json(data, json.loads(path.read_text())))
    else:
        path.write_text(edit.table(data, path.read_text()), errors="surrogatepass")
    if name != "run.json":
        edit.sign(record)
    code, _ = sandbox.attempt("submit", "check", sandbox.input, "--rescore", "0")
    if code == 0:
        assert sandbox.attempt("publish", "--runs", sandbox.input, "--output", "tables")[0] == 0


@pytest.fixture(scope="session")
def tables(materials: Path) -> Path:
    """Folder of the published tables of the recorded runs."""
    from click.testing import CliRunner

    folder = materials / "tables"
    result = CliRunner().invoke(cli, ["publish", "--runs", str(materials / "runs"), "--output", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@fuzz()
@given(data=DATA)
def test_published_tables(data: Data, sandbox: Any, edit: Any, tables: Path, materials: Path) -> None:
    sandbox.begin(tables)
    path = data.draw(st.sampled_from(sorted(sandbox.input.glob("*.csv"))))
    text = path.read_text()
    if data.draw(st.integers(0, 5)):
        path.write_text(edit.table(data, text), errors="surrogatepass")
    else:
        path.write_bytes(edit.bytes(data, text.encode()))
    commands = [each for each in read_commands(sandbox, sandbox.input) if each[0] != "publish"]
    sandbox.attempt(*data.draw(st.sampled_from(commands)))
    code, text = sandbox.attempt("leaderboard", "--runs", sandbox.input, "--format", "json")
    if code == 0:
        check_boards(text)
    shutil.copytree(sandbox.input, sandbox.out / "published")
    sandbox.attempt("publish", "--runs", materials / "runs", "--output", "published")


RUN = (
    "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=6", "--folds", "0", "--protocol", "quick",
    "--set", "f=1", "--set", "depth=1", "--protocol-set", "max_epochs=3", "--protocol-set", "folds=2",
    "--save-every", "0", "--quiet", "--kernels", "plain",
)  # fmt: skip


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store with a run that was interrupted after two of three epochs."""
    from click.testing import CliRunner

    folder = tmp_path_factory.mktemp("interrupted")

    def interrupt(self: object, done: int, *_: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress.Progress, "epoch", interrupt)
        patch.setenv("STAMPBENCH_CACHE", str(folder / "cache"))
        CliRunner().invoke(cli, [*RUN, "--runs", str(folder / "runs")])
    assert list(folder.rglob("state.pt"))
    return folder / "runs"


@fuzz(0.1)
@given(data=DATA)
def test_resume_state(data: Data, sandbox: Any, edit: Any, interrupted: Path) -> None:
    sandbox.begin(interrupted)
    (path,) = sandbox.input.rglob("state.pt")
    content = path.read_bytes()
    if data.draw(st.booleans()):
        content = edit.bytes(data, content)
    else:  # a state that was signed again
        state = torch.load(io.BytesIO(content.partition(b"\n")[2]), weights_only=True)
        holder, key = data.draw(st.sampled_from(list(places(state))))
        if data.draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = data.draw(st.sampled_from([None, -1, 10**9, "x", [], {}, math.nan, torch.zeros(3), 0, True]))
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = hashlib.sha256(buffer.getbuffer()).hexdigest().encode() + b"\n" + buffer.getvalue()
    path.write_bytes(content)
    if data.draw(st.booleans()):
        path.with_name("previous.pt").unlink(missing_ok=True)
    sandbox.attempt(*RUN, "--runs", sandbox.input, writes_input=True)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a state with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below a group with the words that name it."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))
    else:
        yield path, command


COMMANDS = {path: command for path, command in leaves(cli) if path not in {("datasets", "download"), ("doctor",)}}
VALUES = (
    "", " ", "x", "x" * 300, "0", "-1", "1", "2", "7", "9" * 30, "nan", "inf", "1e999", "=", "a=b", "f=2", "f=1e9",
    "f=x", "depth=9", "max_epochs=0", "folds=1", "all", "0,1", "0,,1", ",", "standard", "flat,stamp", "low_data",
    "retrain_scratch", "phantom2d", "phantom3d:size=16,cases=5", "phantom2d:size=0", "phantom2d:cases=3", "quick",
    "hippocampus", "cpu", "cuda", "mps", "16x16", "0x0", "99999999999x2", "none", "paper", "auto", "résumé", "[/x]",
    "\x1b[2J", "(", "(a+)+b", "{runs}", "{data}", "{tables}", "{run}", "o", "o.svg", "o/p.csv", ".", "/dev/full",
    "~nobody-here",
)  # fmt: skip


@fuzz(2)
@given(data=DATA)
def test_command_line(data: Data, sandbox: Any, materials: Path, tables: Path) -> None:
    sandbox.begin()
    (run,) = (materials / "runs" / "phantom2d").rglob("run.json")
    places = {"runs": materials / "runs", "data": materials / "data", "tables": tables, "run": run.parent.name}
    path, command = data.draw(st.sampled_from(list(COMMANDS.items())))
    words: list[str] = []
    for parameter in command.params:
        required = isinstance(parameter, click.Argument) or parameter.required
        if parameter.name == "plugins" or data.draw(st.integers(0, 9)) >= (9 if required else 3):
            continue
        value = (
            data.draw(st.sampled_from(VALUES)).format(**places) if data.draw(st.booleans()) else plausible(parameter)
        )
        if isinstance(parameter, click.Argument):
            words.append(value)
        elif isinstance(parameter, click.Option):
            name = parameter.opts[0]
            words += [name] if parameter.is_flag else [name, value]
    if path[-1] == "run":
        words += ["--dry-run"]
    if path == ("latency",):
        words += ["--seconds", "0.01", "--backend", "eager"]
    sandbox.attempt(*path, *words)


def plausible(parameter: click.Parameter) -> str:
    """Return a value that a parameter may accept."""
    named: dict[str, str] = {
        "runs_folder": "{runs}", "run": "{run}", "dataset": "phantom2d:size=16,cases=6", "name": "{data}",
        "images": "a.png", "strategies": "standard", "protocol": "quick", "output": "o", "data_root": "{data}",
        "folder": "{runs}",
    }  # fmt: skip
    if isinstance(parameter.type, click.Choice):
        return str(parameter.type.choices[0])
    return named.get(str(parameter.name), "1")
