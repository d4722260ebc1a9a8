"""Entry point of the command line: a table of commands, each imported when it is used."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from stampbench.benchmark.cli.colour import ColouredHelp, coloured
from stampbench.benchmark.cli.hints import hint
from stampbench.benchmark.errors import TrainingFailedError, UserError, unknown
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError
from stampbench.reports.escape import one_line
from stampbench.strategies.errors import StrategyError

COMMANDS = {
    "run": "run:run",
    "suite": "suite:suite",
    "list": "list_names:list_names",
    "datasets": "datasets:datasets",
    "leaderboard": "leaderboard:leaderboard",
    "compare": "compare:compare",
    "figure": "figure:figure",
    "report": "report:report",
    "latency": "latency:latency",
    "export": "export:export",
    "predict": "predict:predict",
    "store": "store:store",
    "publish": "publish:publish",
    "render": "render:render",
    "submit": "submit:submit",
    "new-network": "new_network:new_network",
    "new-strategy": "new_strategy:new_strategy",
    "doctor": "doctor:doctor",
}
"""Module and function of every command."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names.

        Raises:
            UserError: when there is none; options are left to click.
        """
        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"stampbench.benchmark.cli.{module}"), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stampbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error")
def cli(debug: bool) -> None:
    """Compact medical segmentation networks: every strategy, one protocol, one leaderboard.

    \b
    stampbench run --strategy standard,stamp_plus --dataset phantom2d --n-train 20 --folds 0 --protocol quick
    stampbench leaderboard
    """


def main() -> NoReturn:
    """Run the command line; an error that a user can cause ends in one line and exit code 2."""
    debug = "--debug" in sys.argv
    _prepare_streams()
    click.Context.formatter_class = ColouredHelp
    try:
        code = cli.main(standalone_mode=False) or 0
        sys.stdout.flush()
        sys.exit(code)
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(" ".join(error.format_message().split()), 2)
    except (UserError, DatasetError, ModelError, StrategyError, TrainingFailedError) as error:
        if debug:
            raise
        _fail(f"{error}{hint(getattr(error, 'setting', None))}", 2)
    except BrokenPipeError:  # of `stampbench … | head`
        _discard("stdout")
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        _discard("stdout")
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", 2)
    except RecursionError:
        if debug:
            raise
        _fail("the input is nested too deeply", 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; run the same command again to resume", 130)


def _prepare_streams() -> None:
    """Let output have a place where a stream is closed, and a question mark for what its encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            _discard(name)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _discard(name: str) -> None:
    """Discard what is written to a stream from now on, also by the interpreter when it ends."""
    setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 (it stays open until the process ends)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"{coloured('error:', 'red')} {one_line(message)}", err=True)
    sys.exit(code)
