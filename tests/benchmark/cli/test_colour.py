"""Colours of messages and help."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest


def at_a_terminal(words: list[str], **variables: str) -> str:
    """Run a command at a terminal and return everything that it prints."""
    controller, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "COLUMNS": "100", **variables}
    running = subprocess.Popen(
        [sys.executable, "-m", "stampbench.benchmark", *words], stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    printed = b""
    while True:
        try:
            read = os.read(controller, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        printed += read
    running.wait()
    os.close(controller)
    return printed.decode()


@pytest.mark.parametrize("words", [["list", "nonsense"], ["list", "--help"]])
def test_errors_and_help_are_coloured_unless_no_color_is_set(words: list[str]) -> None:
    assert "\x1b[3" in at_a_terminal(words)
    assert "\x1b[3" not in at_a_terminal(words, NO_COLOR="1")
    piped = subprocess.run([sys.executable, "-m", "stampbench.benchmark", *words], capture_output=True, text=True)
    assert "\x1b" not in piped.stdout + piped.stderr


def test_a_terminal_gets_a_table_and_a_pipe_markdown() -> None:
    shown = at_a_terminal(["list", "protocols"], NO_COLOR="1")
    assert "|" not in shown
    assert "paper" in shown
    piped = subprocess.run(
        [sys.executable, "-m", "stampbench.benchmark", "list", "protocols"], capture_output=True, text=True
    )
    assert piped.stdout.startswith("| name ")
