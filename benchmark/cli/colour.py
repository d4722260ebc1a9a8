"""Colours of messages and help: on a terminal only, and not if NO_COLOR is set (no-color.org)."""

from __future__ import annotations

import os
import sys

import click


def coloured(text: str, colour: str, *, err: bool = True) -> str:
    """Return text with the commands that colour it, if it goes to a terminal that wants colours.

    Args:
        text: the text.
        colour: name of a colour that click knows.
        err: whether it goes to the error output.
    """
    stream = sys.stderr if err else sys.stdout
    wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return click.style(text, fg=colour, bold=True) if wanted else text


class ColouredHelp(click.HelpFormatter):
    """Help whose headings are coloured."""

    def write_heading(self, heading: str) -> None:
        """Write a heading such as `Options`."""
        self.write(f"{'':>{self.current_indent}}{coloured(f'{heading}:', 'green', err=False)}\n")
