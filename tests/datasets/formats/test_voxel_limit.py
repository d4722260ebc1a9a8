"""Images are refused by their headers, before memory is allocated for their voxels."""

from __future__ import annotations

import gzip
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from stampbench.datasets.dataset import open_dataset
from stampbench.datasets.definition import folder_definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import voxel_limit
from stampbench.datasets.formats.image_io import read, shape
from stampbench.datasets.formats.voxel_limit import check_voxels, max_voxels

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """Let the test allocate 500 MB more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 500_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def write_nifti(path: Path, size: tuple[int, ...], offset: int = 352) -> None:
    """Write a file that declares an image of 16-bit integers, all zero."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header["dim"][: len(size) + 1] = [len(size), *size]
    header["vox_offset"], header["magic"] = offset, b"n+1"
    header.set_sform(np.eye(4), 1)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))


def write_png(path: Path, width: int, height: int) -> None:
    """Write a file that declares a grey image and has no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("function", [read, shape])
def test_large_images_are_refused_by_their_headers(tmp_path: Path, function: Callable[[Path], object]) -> None:
    write_nifti(tmp_path / "a.nii.gz", (1100, 1100, 1100))
    write_nifti(tmp_path / "channels.nii.gz", (256, 256, 256, 100))
    write_png(tmp_path / "a.png", 12_000, 14_000)
    for name, size in (
        ("a.nii.gz", "1100×1100×1100 = 1,331,000,000"),
        ("channels.nii.gz", "256×256×256×100 = 1,677,721,600"),
        ("a.png", "1×14000×12000 = 168,000,000"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(voxel_limit.VARIABLE, "100000000")
            with pytest.raises(DatasetError, match=f"{name}: has {size} voxels, more than 100,000,000") as raised:
                function(tmp_path / name)
        assert raised.value.setting == "max_voxels"
    with pytest.raises(DatasetError, match="more than 300,000,000"):
        function(tmp_path / "a.nii.gz")


@pytest.mark.usefixtures("_little_memory")
def test_large_tiff_files_are_refused_by_their_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8))
    with tifffile.TiffFile(path) as file:
        offsets = {tag.name: tag.valueoffset for tag in file.pages[0].tags}  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    for name in ("ImageWidth", "ImageLength"):
        content[offsets[name] : offsets[name] + 4] = struct.pack("<I", 40_000)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"40000.* = 1,600,000,000 voxels"):
        read(path)


@pytest.mark.usefixtures("_little_memory")
def test_compressed_strips_cannot_grow_beyond_their_size(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offsets = {tag.name: tag.valueoffset for tag in file.pages[0].tags}  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    deflate = zlib.compressobj()
    bomb = b"".join(deflate.compress(bytes(10**7)) for _ in range(40)) + deflate.flush()
    content[offsets["StripOffsets"] : offsets["StripOffsets"] + 4] = struct.pack("<I", len(content))
    content[offsets["StripByteCounts"] : offsets["StripByteCounts"] + 4] = struct.pack("<I", len(bomb))
    path.write_bytes(content + bomb)
    with pytest.raises(DatasetError, match="decompresses to more than its 64 bytes"):
        read(path)


def test_headers_that_begin_their_voxels_far_away_are_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", (4, 4, 4), offset=2**30)
    with pytest.raises(DatasetError, match="its voxels begin at byte"):
        shape(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("size", [(0, 4, 4), (4, 4)])
def test_images_without_voxels_or_axes_are_refused(tmp_path: Path, size: tuple[int, ...]) -> None:
    write_nifti(tmp_path / "a.nii.gz", size)
    for function in (read, shape):
        with pytest.raises(DatasetError, match=r"which is no image|dimensions"):
            function(tmp_path / "a.nii.gz")


def test_files_of_other_formats_are_not_opened_under_the_name_of_a_picture(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.ppm")
    (tmp_path / "a.ppm").rename(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="cannot be read"):
        read(tmp_path / "a.png")


def test_prepared_images_are_limited_too(write_decathlon: Callable[..., Path], tmp_path: Path) -> None:
    for number, size in enumerate([(3000, 2, 2), (2, 3000, 2), (2, 2, 3000)]):
        write_decathlon(tmp_path, "all", 1, size, ("CT",)) if not number else None
        write_decathlon(tmp_path, str(number), 1, size, ("CT",))
        for part in ("imagesTr", "labelsTr"):
            (tmp_path / str(number) / part / "case_00.nii.gz").rename(tmp_path / "all" / part / f"c{number}.nii.gz")
    path = tmp_path / "all" / "dataset.json"
    names = ", ".join(f'{{"image": "imagesTr/c{n}.nii.gz", "label": "labelsTr/c{n}.nii.gz"}}' for n in range(3))
    path.write_text(f'{{"modality": {{"0": "CT"}}, "labels": {{"0": "b", "1": "a"}}, "training": [{names}]}}')
    with pytest.raises(DatasetError, match=r"a prepared image: has 1×3008×3008×3008 = 27,216,576,512 voxels"):
        open_dataset(folder_definition(tmp_path / "all"))


def test_the_limit_is_an_option_and_a_variable(
    decathlon: Callable[..., Path], stampbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = decathlon(cases=2)
    code, _, err = stampbench("datasets", "prepare", folder, "--max-voxels", "2000")
    assert code == 2
    assert err.endswith("20×18×3×2 = 2,160 voxels, more than 2,000; see --max-voxels or STAMPBENCH_MAX_VOXELS\n")
    assert max_voxels() == voxel_limit.DEFAULT
    assert stampbench("datasets", "prepare", folder, "--max-voxels", "100000")[0] == 0
    monkeypatch.setenv(voxel_limit.VARIABLE, "2000")
    assert stampbench("datasets", "prepare", folder)[0] == 2
    monkeypatch.setenv(voxel_limit.VARIABLE, "many")
    with pytest.raises(DatasetError, match="STAMPBENCH_MAX_VOXELS is 'many', which is not a number of voxels"):
        check_voxels("image", (1, 1))


@pytest.mark.usefixtures("_little_memory")
def test_a_chunk_that_claims_gigabytes_reserves_no_memory(tmp_path: Path) -> None:
    """Found by fuzzing: the pixels end early, and Pillow then skips the rest of their chunk by reading it."""
    Image.fromarray(np.zeros((20, 16), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    at = content.index(b"IDAT")
    content[at - 4 : at] = struct.pack(">I", 0x79000000)
    content[at + 8] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a.png: cannot be read") as raised:
        read(tmp_path / "a.png")
    assert "MemoryError" not in str(raised.value)
