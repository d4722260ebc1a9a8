"""Headers of MHA, MHD and NRRD files, in which SimpleITK trusts: a damaged one ended the whole process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.image_io import read, shape

itk = pytest.importorskip("SimpleITK")
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
    "ElementSpacing = 1 2 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
)
NRRD = (
    "NRRD0004\n# made by hand\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 2 2 2\n"
    "space directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (0,0,0)\nencoding: raw\nendian: little\n\n"
)
VOXELS = bytes(range(8))


@pytest.mark.parametrize(
    ("name", "header"), [("a.mha", META), ("a.nrrd", NRRD), ("b.nrrd", NRRD.replace("\n", "\r\n"))]
)
def test_headers_of_other_programs_are_read(name: str, header: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(header.encode() + VOXELS)
    assert shape(tmp_path / name) == (2, 2, 2)
    assert np.array_equal(np.sort(read(tmp_path / name).pixels.ravel()), np.arange(8))


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("a.mha", "NDims = 3", "NDims = 3" + "9" * 30, "dimensions; 2 or 3 are required"),
        ("a.mha", "NDims = 3\n", "", "NDims must come before numbers"),
        ("a.mha", "DimSize = 2 2 2", "DimSize = 2 2 2 2", "dimsize is '2 2 2 2', with 3 dimensions"),
        ("a.mha", "DimSize = 2 2 2", "DimSize = 2 2 x", "dimsize is '2 2 x'"),
        ("a.mha", "1 0 0 0 1 0 0 0 1", "1 0 0", "transformmatrix is '1 0 0'"),
        ("a.mha", "BinaryData", "NDims = 2\nBinaryData", "ndims is there twice"),
        ("a.mha", "LOCAL", "/etc/passwd", "must follow the header, and are not in '/etc/passwd'"),
        ("a.mha", "LOCAL", "LIST", "must follow the header"),
        ("a.mha", META, "not an image", "is no 'key = value'"),
        ("a.mha", "True", "T" * 5000, "longer than 4000 characters"),
        ("a.nrrd", "dimension: 3", "dimension: 999999999999", "dimensions; 2 or 3 are required"),
        ("a.nrrd", "sizes: 2 2 2", "sizes: 2 2", "sizes is '2 2'"),
        ("a.nrrd", "encoding: raw", "encoding: raw\ndata file: /etc/passwd", "must follow the header"),
        ("a.nrrd", "encoding: raw", "encoding: raw\nbyte skip: x", "byte skip is 'x'"),
        ("a.nrrd", NRRD, "not an image", "does not begin with NRRD"),
        ("a.nrrd", NRRD, "NRRD0004\n" + "a: b\n" * 20_000, "has more than 65,536 bytes"),
    ],
)
def test_damaged_headers_are_refused(name: str, old: str, new: str, problem: str, tmp_path: Path) -> None:
    header = {"a.mha": META, "a.nrrd": NRRD}[name]
    assert old in header
    (tmp_path / name).write_bytes(header.replace(old, new).encode() + VOXELS)
    for function in (read, shape):
        with pytest.raises(DatasetError) as error:
            function(tmp_path / name)
        assert problem in str(error.value)
        assert "\n" not in str(error.value)


def test_no_header_ends_the_process(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(META.replace("NDims = 3", "NDims = 3" + "9" * 30).encode() + VOXELS)
    code = "import pathlib, sys; from stampbench.datasets.formats.image_io import read; read(pathlib.Path(sys.argv[1]))"
    ended = subprocess.run([sys.executable, "-c", code, tmp_path / "a.mha"], capture_output=True, text=True)
    assert ended.returncode == 1, "a signal ended it"
    assert "DatasetError" in ended.stderr
