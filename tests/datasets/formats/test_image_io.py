"""Reading image files of every format, and refusing unusable ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats import image_io
from stampbench.datasets.formats.image_io import companions, read, shape, spacing
from stampbench.datasets.formats.nifti import spacing_of
from stampbench.datasets.formats.picture import Format, Picture


def test_nifti_is_read_with_its_spacing_and_channels_first(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)
    nib.save(nib.Nifti1Image(pixels, np.diag([-0.5, 2, 3, 1])), tmp_path / "a.nii.gz")
    picture = read(tmp_path / "a.nii.gz")
    assert np.array_equal(picture.pixels, np.moveaxis(pixels, 3, 0))
    assert picture.affine is not None
    assert spacing_of(picture.affine) == (0.5, 2, 3)
    assert shape(tmp_path / "a.nii.gz") == (2, 3, 4)


def test_shape_is_oriented_to_ras(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.uint8), affine), tmp_path / "a.nii")
    assert shape(tmp_path / "a.nii") == (4, 2, 3)


@pytest.mark.parametrize(
    ("mode", "channels", "top"),
    [("L", 1, 200), ("RGB", 3, 200), ("I;16", 1, 40000), ("1", 1, 255), ("P", 1, 7)],
)
def test_png_is_read_in_every_mode(tmp_path: Path, mode: str, channels: int, top: int) -> None:
    image = Image.new(mode, (5, 4))
    if mode == "P":
        image.putpalette([*range(256)] * 3)
    image.putpixel((2, 1), (top,) * channels if channels > 1 else top)
    image.save(tmp_path / "a.png")
    pixels = read(tmp_path / "a.png", label=True).pixels
    assert pixels.shape == (channels, 4, 5)
    assert pixels[:, 1, 2].tolist() == [top] * channels
    assert np.count_nonzero(pixels) == channels


def save_with_palette(path: Path, indices: np.ndarray, colours: list[tuple[int, int, int]]) -> None:
    """Write a palette image."""
    image = Image.fromarray(indices)
    image.putpalette([value for colour in colours for value in colour])
    image.save(path)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif"])
def test_the_palette_of_an_image_is_applied_and_that_of_a_label_map_is_not(tmp_path: Path, ending: str) -> None:
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / f"a.{ending}"
    save_with_palette(path, indices, [(255 - index,) * 3 for index in range(256)])
    assert np.array_equal(read(path).pixels, 255 - indices[None])
    assert np.array_equal(read(path, label=True).pixels, indices[None])
    save_with_palette(path, indices, [(index, 2 * index % 256, 7) for index in range(256)])
    assert np.array_equal(read(path).pixels, np.stack([indices, 2 * indices, np.full_like(indices, 7)]))


def test_grey_values_of_a_gif_are_its_label_values(tmp_path: Path) -> None:
    """A writer of GIF files numbers the colours that occur: white alone has the index 0."""
    for values in ([0, 255], [255, 255]):
        pixels = np.array([values] * 3, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a.gif")
        assert np.array_equal(read(tmp_path / "a.gif", label=True).pixels, pixels[None])
        assert np.array_equal(read(tmp_path / "a.gif").pixels, pixels[None])


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_compressed_tiff_files_are_read_without_another_package(tmp_path: Path, compression: str, mode: str) -> None:
    channels = 3 if mode == "RGB" else 1
    pixels = np.arange(12 * channels, dtype=np.uint16 if mode == "I;16" else np.uint8).reshape(channels, 3, 4)
    image = Image.fromarray(pixels[0] if channels == 1 else np.moveaxis(pixels, 0, -1))
    image.save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read(tmp_path / "a.tif").pixels, pixels)
    image.save(tmp_path / "a.tif", compression=compression, save_all=True, append_images=[image])
    assert np.array_equal(read(tmp_path / "a.tif").pixels, np.stack([pixels.transpose(0, 2, 1)] * 2, axis=-1))


def test_planar_tiff_files_are_read(tmp_path: Path) -> None:
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 3, 4)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif"])
def test_formats_of_pictures_are_read(tmp_path: Path, ending: str) -> None:
    Image.fromarray(np.full((3, 4), 77, np.uint8)).save(tmp_path / f"a.{ending}")
    assert np.array_equal(read(tmp_path / f"a.{ending}").pixels, np.full((1, 3, 4), 77))
    assert shape(tmp_path / f"a.{ending}") == (3, 4)


def test_an_animated_image_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((3, 4), value, np.uint8)) for value in (1, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DatasetError, match="has 2 frames; a single one is required"):
        read(tmp_path / "a.gif")


def test_tiff_images_and_stacks_are_read(tmp_path: Path) -> None:
    flat = np.arange(12, dtype=np.uint16).reshape(3, 4)
    tifffile.imwrite(tmp_path / "flat.tif", flat)
    assert np.array_equal(read(tmp_path / "flat.tif").pixels, flat[None])
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    tifffile.imwrite(tmp_path / "colour.tif", colour, photometric="rgb")
    assert np.array_equal(read(tmp_path / "colour.tif").pixels, np.moveaxis(colour, 2, 0))
    stack = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / "s_0000.tif", stack, photometric="minisblack")
    (tmp_path / "s.json").write_text(json.dumps({"spacing": [5.0, 1.0, 2.0]}))
    picture = read(tmp_path / "s_0000.tif")
    assert np.array_equal(picture.pixels[0], stack.transpose(2, 1, 0))
    assert picture.affine is not None
    assert spacing_of(picture.affine) == (2, 1, 5)


def test_unusable_files_are_refused_in_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.normal(size=(20, 20, 20)), np.eye(4)), tmp_path / "a.nii.gz")
    compressed = (tmp_path / "a.nii.gz").read_bytes()
    nib.save(nib.Nifti1Image(rng.normal(size=(20, 20, 20)), np.eye(4)), tmp_path / "a.nii")
    plain = (tmp_path / "a.nii").read_bytes()
    broken = {
        "half.nii.gz": compressed[: len(compressed) // 2],
        "none.nii.gz": b"",
        "text.nii.gz": b"not an image",
        "half.nii": plain[: len(plain) // 2],
        "head.nii": plain[:100],
        "text.png": b"not an image",
        "text.npy": b"not an image",
        "text.tif": b"not an image",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match=f"{name}: cannot be read") as raised:
            read(tmp_path / name)
        assert "\n" not in str(raised.value)
    (tmp_path / "a.xyz").touch()
    with pytest.raises(DatasetError, match="unknown image format"):
        read(tmp_path / "a.xyz")
    with pytest.raises(DatasetError, match="no such file"):
        read(tmp_path / "b.nii.gz")


def test_invalid_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), path)
    original = bytearray(path.read_bytes())

    def message_after(offset: int, value: bytes) -> str:
        """Write the file with other bytes at an offset, and return the message of the error when it is read."""
        content = bytearray(original)
        content[offset : offset + len(value)] = value
        path.write_bytes(content)
        messages = []
        for function in (read, shape):
            with pytest.raises(DatasetError) as raised:
                function(path)
            messages.append(str(raised.value))
        assert "\n" not in messages[0]
        return messages[0]

    assert "cannot be read" in message_after(70, np.int16(9999).tobytes())  # datatype
    nan = np.full(12, np.nan, np.float32).tobytes()
    assert "affine is not invertible" in message_after(280, nan)  # sform
    assert "affine is not invertible" in message_after(280, bytes(48))
    colour = np.zeros((4, 4, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nib.save(nib.Nifti1Image(colour, np.eye(4)), path)
    with pytest.raises(DatasetError, match="integers or real numbers are required"):
        read(path)


@pytest.mark.parametrize(
    "text", ["{}", "[]", "{", '{"spacing": [1, 2]}', '{"spacing": "abc"}', '{"spacing": [1, 0, 2]}']
)
def test_invalid_spacing_of_a_tiff_stack_is_refused(tmp_path: Path, text: str) -> None:
    tifffile.imwrite(tmp_path / "s.tif", np.zeros((2, 3, 4), np.uint8), photometric="minisblack")
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(DatasetError, match="spacing"):
        read(tmp_path / "s.tif")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinite_values_are_refused(tmp_path: Path, value: float) -> None:
    pixels = np.zeros((4, 4, 4), np.float32)
    pixels[1, 2, 3] = value
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DatasetError, match="NaN or infinite"):
        read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("value", [3e38, -1e20, 2e15])
def test_values_that_overflow_in_the_normalisation_are_refused(tmp_path: Path, value: float) -> None:
    pixels = np.zeros((4, 4, 4), np.float32)
    pixels[1, 2, 3] = value
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DatasetError, match=r"contains values up to .*; at most 1e\+15 is accepted"):
        read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    "columns",
    [
        [[1e5, 0, 0], [1e5, 1e-12, 0], [0, 0, 1e5]],  # two axes point in the same direction
        [[1e30, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [0, 3e38, 1]],  # an entry beside the diagonal, which orientation turns into NaN
        [[1e-7, 0, 0], [0, 1e4, 0], [0, 0, 1e4]],
    ],
)
def test_affines_without_plausible_axes_are_refused(tmp_path: Path, columns: list[list[float]]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    image = nib.Nifti2Image(np.zeros((4, 4, 4), np.uint8), affine)
    nib.save(image, tmp_path / "a.nii")
    for function in (read, shape):
        with pytest.raises(DatasetError, match="the affine"):
            function(tmp_path / "a.nii")


def test_numpy_files_are_pictures_volumes_or_volumes_with_channels(tmp_path: Path) -> None:
    for size, pixels_shape in (((3, 4), (1, 3, 4)), ((3, 4, 5), (1, 3, 4, 5)), ((2, 3, 4, 5), (2, 3, 4, 5))):
        array = np.arange(np.prod(size), dtype=np.int16).reshape(size)
        np.save(tmp_path / "a.npy", array)
        picture = read(tmp_path / "a.npy")
        assert np.array_equal(picture.pixels, array.reshape(pixels_shape))
        assert (picture.affine is None) is (len(size) == 2)
        assert shape(tmp_path / "a.npy") == pixels_shape[1:]
    np.save(tmp_path / "a.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(DatasetError, match="cannot be read"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", ["nrrd", "nhdr", "mha", "mhd"])
def test_itk_files_have_the_voxels_and_affine_of_the_same_nifti_file(tmp_path: Path, ending: str) -> None:
    """SimpleITK writes an oblique volume in both formats; nibabel reads NIfTI."""
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32))
    image.SetSpacing((0.5, 0.7, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((0.0, 0.8, 0.6, 0.0, -0.6, 0.8, 1.0, 0.0, 0.0))
    other, nifti = tmp_path / f"a.{ending}", tmp_path / "a.nii.gz"
    itk.WriteImage(image, str(other))
    itk.WriteImage(image, str(nifti))
    ours, theirs = read(other), read(nifti)
    assert np.array_equal(ours.pixels, theirs.pixels)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    assert shape(other) == shape(nifti)
    assert spacing(other) == spacing(nifti)
    assert [path.suffix for path in companions(other)] == ([".raw"] if ending in ("nhdr", "mhd") else [])
    flat = itk.GetImageFromArray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    itk.WriteImage(flat, str(other))
    assert np.array_equal(read(other).pixels, np.arange(12).reshape(1, 3, 4))
    colour = itk.GetImageFromArray(np.arange(24, dtype=np.uint8).reshape(3, 4, 2), isVector=True)
    itk.WriteImage(colour, str(other))
    assert np.array_equal(read(other).pixels, np.moveaxis(np.arange(24).reshape(3, 4, 2), -1, 0))


def test_voxels_in_another_folder_are_refused(tmp_path: Path) -> None:
    text = "NDims = 2\nDimSize = 2 2\nElementType = MET_UCHAR\nElementDataFile = ../secret.raw\n"
    (tmp_path / "a.mhd").write_text(text)
    with pytest.raises(DatasetError, match=r"must be in one file of the same folder, not in '\.\./secret\.raw'"):
        read(tmp_path / "a.mhd")


def test_a_format_that_needs_the_extra_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    (tmp_path / "a.nrrd").touch()
    with pytest.raises(DatasetError, match=r".nrrd files need the extra 'formats'; run: pip install 'stampbench"):
        read(tmp_path / "a.nrrd")


def test_formats_of_other_packages_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(name: str, value: object) -> object:
        return SimpleNamespace(name=name, value=name, load=lambda: value)

    fresh = Format((".ones",), lambda path, label: Picture(np.ones((1, 2, 3), np.uint8), None))
    points = [entry("ones", fresh), entry("text", "no format"), entry("png", fresh._replace(endings=(".png",)))]
    monkeypatch.setattr(image_io.metadata, "entry_points", lambda group: points)
    monkeypatch.setattr(image_io, "FORMATS", [*image_io.FORMATS])
    assert [problem.split(":")[0] for problem in image_io.discover()] == ["reader 'text'", "reader 'png'"]
    (tmp_path / "a.ones").touch()
    assert read(tmp_path / "a.ones").pixels.sum() == 6
    assert shape(tmp_path / "a.ones") == (2, 3)
