"""LaTeX tables, compiled by pdflatex where it is installed (Debian: apt install texlive-latex-recommended)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from stampbench.benchmark.records.tables import read_records
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.reports.answer_table import answer_listing
from stampbench.reports.answers import answers
from stampbench.reports.by_class import class_tables
from stampbench.reports.comparison import compare
from stampbench.reports.comparison_tables import comparison_listing
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.listing import Listing, to_latex
from stampbench.reports.overall import overall_ranking
from stampbench.reports.table_formats import listing_of

PUBLISHED = Path(__file__).parents[2] / "leaderboards"
pytestmark = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
HOSTILE = [
    "[a]",
    "*b",
    "[1in]",
    r"\input{/etc/passwd}",
    "50 % & 3 # $x$ {y} ~ ^ _ < > |",
    "a − b ≤ c ≥ d ± e × f Δ",
    "µ–…",
]


def published() -> list[Listing]:
    """Return a table of every kind, made from the published records."""
    records = read_records(PUBLISHED, [], trajectories=False)
    boards = leaderboards(records.runs, records.cases, records.timings)
    own = records.runs[(records.runs["protocol"] == "cpu") & (records.runs["n_train"] == 25)]
    sides = [own[own["strategy"] == name] for name in ("stamp", "standard", "random_largest")]
    compared = [each for other in sides[1:] for each in compare(sides[0], other, records.cases)]
    classes = class_tables(boards[:2], records.runs, records.cases)
    return [
        *(listing_of(each) for each in (*boards, *classes, *overall_ranking(boards))),
        answer_listing(answers(boards, records.runs)),
        comparison_listing(compared),
    ]


def compiled(tables: list[Listing], folder: Path) -> str:
    """Compile tables as an article and return what pdflatex printed."""
    text = to_latex([each.arranged(short=True) for each in tables]).replace(r"\end{table}", "\\end{table}\n\\clearpage")
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (folder / "tables.tex").write_text(f"{head}{text}\\end{{document}}\n")
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*(?:\n.*){3}", done.stdout, re.MULTILINE)
    return done.stdout


def test_published_tables_compile_and_fit_the_page(tmp_path: Path) -> None:
    printed = compiled(published(), tmp_path)
    assert "Output written on tables.pdf" in printed
    too_wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", printed)]
    assert max(too_wide, default=0) < 1, "points"


def test_texts_that_mean_something_to_latex_compile(tmp_path: Path) -> None:
    texts = [*HOSTILE, *(each.citation for each in CATALOGUE.values()), *(each.summary for each in CATALOGUE.values())]
    table = pd.DataFrame({"first": texts, "second": [each * 3 for each in texts]})
    titles = {"first": "[heading]", "second": "b_[c]"}
    printed = compiled([Listing("[title] − x_y", table, table, titles, ("first",), (r"note \x",))], tmp_path)
    assert "(/etc" not in printed, "nothing is read"
