"""The command `stampbench datasets`, and the table of datasets in the documentation."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stampbench.datasets.catalogue import CATALOGUE

DOCS = Path(__file__).parents[3] / "docs" / "datasets.md"
COLUMNS = "name,what,networks_see,test_subjects,arrives_as,licence,citation"
Command = Callable[..., tuple[int, str, str]]


def test_documented_table_equals_the_output_of_datasets_list(stampbench: Command) -> None:
    code, out, _ = stampbench("datasets", "list", "--format", "md", "--columns", COLUMNS)
    assert code == 0
    table = DOCS.read_text().split("<!-- table: begin -->\n")[1].split("<!-- table: end -->")[0]
    assert table == out
    for name, definition in CATALOGUE.items():
        (row,) = (line for line in table.splitlines() if line.startswith(f"| {name} "))
        assert definition.licence in row
        assert definition.citation in row
        assert definition.licence
        assert definition.citation


def test_each_dataset_has_a_card_that_its_definition_generates(stampbench: Command, tmp_path: Path) -> None:
    cards = {path.stem: path.read_text() for path in (DOCS.parent / "dataset_cards").glob("*.md")}
    assert set(cards) == set(CATALOGUE)
    for name, card in cards.items():
        code, out, _ = stampbench("datasets", "show", name, "--format", "markdown", "--data-root", tmp_path)
        assert code == 0
        assert out == card
        assert f"(dataset_cards/{name}.md)" in DOCS.read_text()
        definition = CATALOGUE[name]
        assert definition.archive is None or str(definition.archive.md5) in card
        assert all(f"{each}: " in card for each in definition.classes or {})


def test_list_marks_the_datasets_that_are_present(stampbench: Command, tmp_path: Path) -> None:
    (tmp_path / "Task09_Spleen").mkdir()
    (tmp_path / "Task09_Spleen" / "dataset.json").touch()
    (tmp_path / "Task02_Heart").mkdir()  # an empty folder is not a dataset
    labels = tmp_path / "IXI" / "IXI002-HH-1234-T1.anat"
    labels.mkdir(parents=True)
    (labels / "T1_biascorr_brain_mask.nii.gz").touch()
    code, out, _ = stampbench("datasets", "list", "--data-root", tmp_path, "--format", "csv")
    present = {row["name"]: row["here"] == "yes" for row in csv.DictReader(io.StringIO(out))}
    assert code == 0
    assert {name for name, found in present.items() if found} == {"phantom2d", "phantom3d", "spleen", "ixi_hh"}
    assert set(CATALOGUE) <= set(present)


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("harp", ["adni.loni.usc.edu", "HarP/labels/SUBJECT_L.nii.gz", "ADNI data use agreement"]),
        ("ixi_hh", ["fsl_anat", "IXI-T1.tar", "IXI002-HH-0000-T1.anat/T1_biascorr_brain_mask.nii.gz"]),
        ("ixi_guys", ["fsl_anat -i", "T1_subcort_seg.nii.gz", "datasets download ixi_guys"]),
        ("intergrowth", ["not public", "INTERGROWTH21/images/SUBJECT.nii.gz"]),
        ("nfbs", ["sub-A00028185_ses-NFB3_T1w_brainmask.nii.gz", "NFBS_Dataset.tar.gz"]),
        ("spleen", ["CC-BY-SA 4.0", "Task09_Spleen.tar", "dataset.json"]),
    ],
)
def test_show_explains_how_to_get_an_absent_dataset(
    name: str, texts: list[str], stampbench: Command, tmp_path: Path
) -> None:
    for root in ([], ["--data-root", tmp_path]):
        code, out, _ = stampbench("datasets", "show", name, *root)
        assert code == 0
        assert "here       no; " in out
        for text in texts:
            assert text in out


def test_show_refuses_a_folder_without_dataset_json(stampbench: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = stampbench("datasets", "show", tmp_path / "empty")
    assert (code, "has no dataset.json" in err) == (2, True)


def test_three_processes_can_prepare_the_same_dataset_at_once(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    folder, cache = decathlon(), tmp_path / "shared"
    command = [sys.executable, "-m", "stampbench.benchmark", "datasets", "prepare", str(folder)]
    environment = {"STAMPBENCH_CACHE": str(cache), "PATH": "/usr/bin:/bin"}
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert all("16 cases" in output for output in outputs)
    prepared = sorted((cache / "Task05_Prostate").glob("case_*"))
    assert len(prepared) == 16
    assert not list(cache.rglob(".*case*"))  # no temporary folder is left
    for case in prepared:
        assert np.load(case / "images.npy").shape == (1, 2, 32, 32, 16)


def test_prepare_reports_a_damaged_case_and_keeps_the_prepared_ones(
    decathlon: Callable[..., Path], stampbench: Command, tmp_path: Path
) -> None:
    folder = decathlon()
    (folder / "labelsTr" / "case_09.nii.gz").write_bytes(b"")
    code, _, err = stampbench("datasets", "prepare", folder)
    assert code == 2
    assert err.startswith("error: case 'case_09': ")
    assert len(err.splitlines()) == 1
    assert len(list((tmp_path / "cache" / "Task05_Prostate").glob("case_0*"))) == 9
