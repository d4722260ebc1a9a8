"""Text of records, escaped for where it is shown: terminal, markdown, LaTeX, figures and spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line uses this module before it needs tables
    import pandas as pd

_BREAKS = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
_HIDDEN = ("Cc", "Cf", "Cs", "Co")
"""Unicode categories of control characters, such as those that begin terminal commands or turn text around."""
_MARKDOWN = re.compile(r"[\\`|]|<(?=[A-Za-z/!?])|(?<=\])\(")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "Δ": r"$\Delta$", "±": r"$\pm$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$",
    "∞": r"$\infty$", "≈": r"$\approx$", "α": r"$\alpha$", "β": r"$\beta$", "δ": r"$\delta$", "λ": r"$\lambda$",
    "μ": r"$\mu$", "σ": r"$\sigma$", "τ": r"$\tau$", "[": "{[}", "]": "{]}", "\u00a0": "~",
}  # fmt: skip
"""What pdflatex does not know as it is; a bracket after the end of a row would be an option."""
_FORMULA = re.compile(r"[\s]*[=+\-@]")


def terminal(text: str) -> str:
    """Return text in which characters that a terminal would act on are shown as escapes such as `\\x1b`."""
    return "".join(each if each in "\n\t" else _visible(each) for each in text)


def one_line(text: str) -> str:
    """Return text for a terminal in one line: line breaks become spaces."""
    return terminal(_BREAKS.sub(" ", text))


def markdown(text: str) -> str:
    """Return text for one line or table cell of markdown, without HTML, comments, links and cell borders."""
    return _MARKDOWN.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", one_line(text))


def latex(text: str) -> str:
    """Return text for LaTeX, without commands."""
    return "".join(_LATEX.get(each, each) for each in one_line(text))


def plot(text: str) -> str:
    """Return text for a figure, in which matplotlib sees no formulas between dollar signs."""
    return one_line(text).replace("$", r"\$")


def plot_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with texts for a figure; see `plot`."""
    return _mapped(table, lambda cell: plot(cell) if isinstance(cell, str) else cell)


def spreadsheet(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for a CSV file whose texts no spreadsheet program reads as formulas: they get a leading `'`."""
    return _mapped(table, _without_formula)


def _mapped(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    texts = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(**{str(name): texts[name].map(change) for name in texts})


def _without_formula(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = terminal(cell)
    return f"'{text}" if _FORMULA.match(text) else text


def _visible(character: str) -> str:
    if unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode()
    return character
