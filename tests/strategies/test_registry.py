"""Tests of plug-in strategies and selections, from a file and from an installed package, valid and invalid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.protocol import PAPER, QUICK
from stampbench.benchmark.config.resolve import resolve_strategies
from stampbench.benchmark.execution.run import Draw, plan_run
from stampbench.datasets.dataset import open_dataset
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import SELECTION_CODES, STRATEGIES, load_plugin
from stampbench.strategies.selection import SELECTIONS

GOOD = """
from stampbench.strategies.base import Strategy

class TwoEpochs(Strategy):
    '''Train for two epochs (Author 2026, §1).'''

    more: int = 0

    def fit(self, trainer):
        trainer.train(2 + self.more)
        trainer.checkpoint()
"""


@pytest.fixture(autouse=True)
def _restore_registry():  # type: ignore[no-untyped-def]
    before = dict(STRATEGIES)
    selections = dict(SELECTIONS)
    yield
    for registry, content in ((STRATEGIES, before), (SELECTIONS, selections), (SELECTION_CODES, {})):
        registry.clear()
        registry.update(content)


def test_plugin_file_registers_strategies_under_snake_case_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    assert load_plugin(path) == ["two_epochs"]
    entry = STRATEGIES["two_epochs"]
    assert entry.describe() == "Train for two epochs (Author 2026, §1)."
    assert entry.load()(more=1).model_dump()["more"] == 1
    first = entry.code
    STRATEGIES.pop("two_epochs")
    path.write_text(GOOD + "\n# changed\n")
    load_plugin(path)
    assert STRATEGIES["two_epochs"].code != first  # a changed file gives new runs


def test_plugin_file_can_postpone_annotations_and_register_selections(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\nfrom typing import Literal\n"
        + GOOD.replace("more: int = 0", "more: Literal[0, 1] = 0")
        + "\nfrom stampbench.strategies.selection import lowest\n\n"
        + "def mine(trainer, settings):\n    return lowest(trainer, settings)\n\nSELECTIONS = {'mine': mine}\n"
    )
    load_plugin(path)
    assert STRATEGIES["two_epochs"].load()().model_dump()["more"] == 0
    assert STRATEGIES["stamp"].load()(selection="mine").model_dump()["selection"] == "mine"
    assert SELECTION_CODES["mine"] == STRATEGIES["two_epochs"].code
    (resolved,) = resolve_strategies(["stamp"], PAPER, {"selection": "mine"})
    assert resolved.code == SELECTION_CODES["mine"]


def test_strategy_that_fails_or_never_ends_is_reported_before_it_runs(tmp_path: Path) -> None:
    dataset = open_dataset(find_definition("phantom2d:size=16,cases=14"))
    for body, message in (
        ("{}['x']", "TwoEpochs fails: KeyError"),
        ("while True: trainer.train(1000)", "does not end"),
    ):
        STRATEGIES.pop("two_epochs", None)
        path = tmp_path / "mine.py"
        path.write_text(GOOD.replace("trainer.train(2 + self.more)", body))
        load_plugin(path)
        (resolved,) = resolve_strategies(["two_epochs"], QUICK, {})
        with pytest.raises(StrategyError, match=message):
            plan_run(resolved, dataset, QUICK, Draw(None, fold=0, seed=0))
    path.write_text(GOOD.replace("def fit", "def start(self, *dims):\n        return None\n\n    def fit"))
    STRATEGIES.pop("two_epochs")
    load_plugin(path)
    (resolved,) = resolve_strategies(["two_epochs"], QUICK, {})
    with pytest.raises(StrategyError, match="start returned NoneType"):
        plan_run(resolved, dataset, QUICK, Draw(None, fold=0, seed=0))


def test_changed_plugin_of_a_parent_run_changes_the_run_id(tmp_path: Path) -> None:
    dataset, path, ids = open_dataset(find_definition("phantom2d:size=16,cases=14")), tmp_path / "mine.py", set()
    for text in (GOOD, GOOD + "\n# changed\n"):
        STRATEGIES.pop("two_epochs", None)
        path.write_text(text)
        load_plugin(path)
        (resolved,) = resolve_strategies(["retrain_scratch"], QUICK, {"source": "two_epochs"})
        ids.add(plan_run(resolved, dataset, QUICK, Draw(None, fold=0, seed=0)).spec.id)
    assert len(ids) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name", "cannot be imported .ModuleNotFoundError"),
        ("def broken(:", "cannot be imported .SyntaxError"),
        ("x = 1", "defines neither a subclass"),
        ("SELECTIONS = [1]", "SELECTIONS is a list, not a dictionary"),
        (
            GOOD.replace("TwoEpochs", "Stamp"),
            "'stamp' of plug-in .*mine.py.* already used by stampbench .*TrainAndPrune",
        ),
        (GOOD.replace("def fit", "def fitt"), "does not define fit"),
        (GOOD.replace("more: int = 0", "more: int"), "no valid default"),
    ],
)
def test_invalid_plugin_file_is_refused_with_its_path_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(StrategyError, match=f"plug-in.*{message}|{message}") as raised:
        load_plugin(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(StrategyError, match="no such file"):
        load_plugin(tmp_path / "absent.py")


PACKAGE = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "outsider"
version = "1.2"
[project.entry-points."stampbench.strategies"]
two_epochs = "outsider:TwoEpochs"
standard = "outsider:TwoEpochs"
broken = "outsider.absent:Nothing"
no_strategy = "outsider:lowest_last"
[project.entry-points."stampbench.networks"]
two_convs = "outsider:TwoConvs"
dynunet = "outsider:TwoConvs"
no_network = "outsider:TwoEpochs"
[project.entry-points."stampbench.selections"]
lowest_last = "outsider:lowest_last"
lowest = "outsider:lowest_last"
missing = "outsider:missing"
""",
    "outsider.py": GOOD
    + """
from torch import nn
from stampbench.models.network import Network
from stampbench.strategies.selection import Chosen, rank

class TwoConvs(Network, frozen=True):
    '''Two convolutions.'''
    f: int = 4
    def build(self, spatial_dims, in_channels, out_channels):
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        return nn.Sequential(conv(in_channels, self.f, 3, padding=1), nn.ReLU(), conv(self.f, out_channels, 1))

def lowest_last(trainer, settings):
    ranking = rank(trainer, settings.importance)
    return Chosen(ranking.lowest(settings.filters_per_step, settings.min_filters)[::-1], ranking)
""",
}


# One process for all commands, because its imports take longer than they do.
SERVER = """
import contextlib, io, json, sys
from stampbench.benchmark.cli.main import main

for line in sys.stdin:
    sys.argv, out, err, code = ["stampbench", *json.loads(line)], io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as error:
            code = error.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""


def test_plugins_of_an_installed_package_appear_in_list_run_and_leaderboard(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name, text in PACKAGE.items():
        (source / name).write_text(text)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*install, "--target", str(site), str(source)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    with server:
        _check_outsider(server)
    assert server.returncode == 0


def _check_outsider(server: subprocess.Popen[str]) -> None:
    def stampbench(*words: str) -> subprocess.CompletedProcess[str]:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(words) + "\n")
        server.stdin.flush()
        return subprocess.CompletedProcess(words, *json.loads(server.stdout.readline()))

    listed = stampbench("list", "strategies")
    assert listed.returncode == 0, listed.stderr
    lines = {line.split("|")[1].strip(): line for line in listed.stdout.splitlines()}
    assert "Train for two epochs" in lines["two_epochs"]
    assert "[outsider 1.2]" in lines["two_epochs"]
    assert "doubling U-Net" in lines["standard"]  # the built-in strategy is kept
    warnings = listed.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    for part in (
        "strategy 'standard' of outsider 1.2 (outsider:TwoEpochs): not registered, because the name is already used "
        "by stampbench",
        "outsider 1.2: outsider.absent:Nothing cannot be imported (ModuleNotFoundError",
        "outsider:lowest_last: not a subclass of stampbench.strategies.base.Strategy",
        "selection 'lowest' of outsider 1.2: not registered, because the name is already used by stampbench",
        "outsider 1.2: selection outsider:missing cannot be imported",
    ):
        assert sum(part in line for line in warnings) == 1, part
    networks = stampbench("list", "networks")
    assert "two_convs" in networks.stdout
    assert "Two convolutions. [outsider 1.2]" in networks.stdout
    assert "MONAI's DynUNet" in networks.stdout  # the built-in network is kept
    assert "outsider:TwoEpochs: not a subclass of stampbench.models.network.Network" in networks.stderr
    words = ["--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol", "quick"]
    small = ["--set", "f=2", "--set", "depth=1"]
    ran = stampbench("run", "--strategy", "two_epochs", *words, *small)
    assert ran.returncode == 0, ran.stderr
    selected = ["--set", "selection=lowest_last", "--set", "filters_per_step=8", "--set", "recovery_epochs=1"]
    ran = stampbench("run", "--strategy", "stamp", *words, *small, *selected)
    assert ran.returncode == 0, ran.stderr
    other = ["--network", "two_convs,outsider:TwoConvs", "--network-set", "f=8", "--set", "recovery_epochs=1"]
    ran = stampbench("run", "--strategy", "stamp", *words, *other, "--set", "filters_per_step=4")
    assert ran.returncode == 0, ran.stderr
    (board,) = json.loads(stampbench("leaderboard", "--format", "json").stdout)["boards"]
    labels = [row["strategy"] for row in board["rows"]]
    assert "two_epochs (f=2, depth=1, code=outsider 1.2)" in labels
    assert any("selection=lowest_last" in label for label in labels)
    for name, version in (("two_convs", "outsider 1.2"), ("outsider:TwoConvs", "")):
        (label,) = (each for each in labels if f"stamp (network={name} f=8" in each)
        assert f"code={version}" in label
    planned = stampbench("run", "--strategy", "all", *words, "--dry-run")
    assert planned.returncode == 0
    assert "warning: skipped: outsider 1.2: outsider.absent:Nothing" in planned.stderr
    failed = stampbench("run", "--strategy", "broken", *words)
    assert failed.returncode == 2
    assert "error: outsider 1.2: outsider.absent:Nothing cannot be imported" in failed.stderr.splitlines()[-1]


def test_new_strategy_writes_a_plugin_and_a_test_that_pass_unchanged(
    tmp_path: Path, stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    assert stampbench("new-strategy", "my_idea")[0] == 0
    for name, message in (
        ("my_idea", "exists"),
        ("My-Idea", "snake_case"),
        ("stamp", "taken by stampbench"),
        ("u_net", "unet"),
    ):
        code, _, err = stampbench("new-strategy", name)
        assert code == 2
        assert message in err
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_idea.py"]
    tested = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    words = ["--plugin", "my_idea.py", "--strategy", "my_idea", "--dataset", "phantom2d:size=16,cases=14"]
    small = ["--folds", "0", "--protocol", "quick", "--set", "f=2", "--set", "depth=1"]
    code, _, err = stampbench("run", *words, *small)
    assert code == 0, err
