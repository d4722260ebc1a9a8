"""The house: what a fresh interpreter finds, and what it must not load."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest

HEAVY = ("torch", "monai", "pandas", "matplotlib", "scipy")


@pytest.mark.parametrize("words", [["--help"], ["list", "strategies"], ["datasets", "list"], ["list", "protocols"]])
def test_answers_without_heavy_imports(words: list[str]) -> None:
    code = (
        "import sys; from stampbench.benchmark.cli.main import cli; "
        f"cli({words!r}, standalone_mode=False); print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_nothing_but_stampbench_lands_in_site_packages() -> None:
    # Not the egg-info that an editable installation leaves beside the sources.
    (installed,) = metadata.distributions(name="stampbench", path=[sysconfig.get_path("purelib")])
    files = installed.files or []
    assert files
    tops = {file.parts[0] for file in files if ".." not in file.parts}
    assert not tops & {"benchmark", "models", "strategies", "datasets", "reports", "tests"}


def test_readme_lists_the_strategies_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stampbench.benchmark", "list", "strategies"], capture_output=True, text=True, check=True
    )
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert done.stdout in readme


ROOT = Path(__file__).parent.parent
FOLDERS = ("models", "datasets", "strategies", "benchmark", "reports")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in MODULES}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def lines(node: ast.AST) -> int:
    """Lines of a function without its docstring and decorators."""
    assert isinstance(node, ast.FunctionDef)
    assert node.end_lineno is not None
    body = node.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    docstring = (body[0].end_lineno or 0) - body[0].lineno + 1 if documented else 0
    return node.end_lineno - node.lineno + 1 - docstring


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def is_command(function: ast.FunctionDef) -> bool:
    """Whether click passes the parameters."""
    return any("command" in ast.unparse(each) for each in function.decorator_list)


def test_modules_and_functions_are_small() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in TREES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
    assert statistics.median(lengths.values()) <= 110
    long = {
        f"{name}:{function.name}": lines(function)
        for name, tree in TREES.items()
        for function in functions(tree)
        if lines(function) > 60
    }
    assert long == {}
    wide = {
        f"{name}:{function.name}": len(parameters)
        for name, tree in TREES.items()
        for function in functions(tree)
        if not is_command(function)
        and len(parameters := [*function.args.args, *function.args.kwonlyargs, *function.args.posonlyargs]) > 8
    }
    assert wide == {}


def docstrings(tree: ast.AST) -> set[int]:
    """Ids of the constants that are docstrings, of attributes too."""
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def test_only_the_command_line_speaks_of_options() -> None:
    """Errors of other rooms state facts, since people also reach them from YAML files and from Python."""
    commands_of_others = {"benchmark/config/rerun_command.py", "benchmark/environment/provenance.py"}
    commands_of_others |= {"benchmark/environment/machine.py", "datasets/catalogue.py"}  # nvidia-smi, FreeSurfer
    commands_of_others |= {"benchmark/records/documents.py", "benchmark/execution/rerun.py"}
    commands_of_others |= {"benchmark/config/network_template.py", "benchmark/config/strategy_template.py"}
    found = {
        f"{name}:{node.lineno}": node.value
        for name, tree in TREES.items()
        if not name.startswith("benchmark/cli/") and name not in commands_of_others
        for hidden in [docstrings(tree)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden
        if OPTION.search(node.value.replace("<!-- ", ""))
    }
    assert found == {}


def test_public_objects_are_documented() -> None:
    """A stranger who opens a module reads what everything in it is for; Args are named from four parameters on."""
    bare, silent = [], []
    protocol = {"benchmark/training/trainer.py", "benchmark/execution/dry_run.py"}  # documented in strategies/base.py
    for name, tree in TREES.items():
        assert ast.get_docstring(tree), name
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            text = ast.get_docstring(node)
            if text is None:
                if name not in protocol and not nested(tree, node):
                    bare.append(f"{name}:{node.name}")
            elif isinstance(node, ast.FunctionDef) and not is_command(node) and "Args:" not in text:
                parameters = [
                    each.arg for each in (*node.args.args, *node.args.kwonlyargs) if each.arg not in ("self", "cls")
                ]
                if len(parameters) >= 4 and not nested(tree, node) and not re.search("arguments", text):
                    silent.append(f"{name}:{node.name}")
    assert bare == []
    assert silent == []


def nested(tree: ast.AST, node: ast.AST) -> bool:
    """Whether a function is defined inside another one, or in a private class."""
    outer = [each for each in ast.walk(tree) if isinstance(each, ast.ClassDef) and each.name.startswith("_")]
    return any(node in ast.walk(each) and node is not each for each in (*functions(tree), *outer))


def test_packages_of_pyproject_are_the_folders() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT).as_posix() for path in MODULES}
    assert {declared["package-dir"][name] for name in declared["packages"]} == folders


def test_run_and_suite_run_have_the_same_options_of_computing_and_executing() -> None:
    from stampbench.benchmark.cli.run import run
    from stampbench.benchmark.cli.suite import run_suite

    def options(command: click.Command) -> dict[str, str]:
        return {each.opts[0]: str(each.to_info_dict()) for each in command.params if isinstance(each, click.Option)}

    first, second = options(run), options(run_suite)
    wanted = {
        "--device", "--threads", "--kernels", "--allocator", "--save-memory", "--deterministic", "--tf32",
        "--save-every", "--executor", "--jobs", "--gpus", "--force", "--quiet", "--runs", "--data-root", "--plugin",
    }  # fmt: skip
    assert wanted <= set(first) & set(second)
    assert {name: first[name] for name in wanted} == {name: second[name] for name in wanted}


def test_every_hint_names_an_option_that_exists() -> None:
    from stampbench.benchmark.cli.hints import HINTS
    from stampbench.benchmark.cli.main import COMMANDS, cli

    def all_options(command: click.Command) -> set[str]:
        found = {option for each in command.params for option in each.opts}
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                found |= all_options(child)
        return found

    options = all_options(cli)
    assert len(COMMANDS) > 10
    for setting, text in HINTS.items():
        assert set(OPTION.findall(text)) <= options, setting
    used = {
        keyword.value.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "setting" and isinstance(keyword.value, ast.Constant)
    }
    assert used <= set(HINTS)


def test_docs_hold_the_generated_reference_of_records() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stampbench.benchmark", "store", "schema"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "records.md").read_text() == done.stdout
