"""Masks of structures in DICOM-SEG and RTSTRUCT files, in the grid of the image that they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.dicom_files import RTSTRUCT, highdicom, read_dataset
from stampbench.datasets.formats.picture import Header
from stampbench.datasets.formats.voxel_limit import check_voxels

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS to DICOM's coordinates, whose axes point to left, posterior and superior, and back."""
_OFF_SLICE = 0.25
"""Largest distance of a contour from the next slice, in slices."""
_TOLERANCE = 0.05
"""Largest difference between the grids of a segmentation and its image, in voxels."""


def structure_names(path: Path) -> tuple[str, ...]:
    """Return the names of the structures in a file, each of them once."""
    data = _opened(path, path.stat().st_mtime_ns)
    if str(data.SOPClassUID) == RTSTRUCT:
        names = [str(each.ROIName) for each in data.StructureSetROISequence]
    else:
        names = [str(each.SegmentLabel) for each in data.SegmentSequence]
    return tuple(dict.fromkeys(name.strip() for name in names))


def structure_mask(path: Path, names: tuple[str, ...], image: Header) -> NDArray[np.uint8]:
    """Return the mask `(*spatial)` of the structures with some names, united, in the grid of an image.

    Args:
        path: A DICOM-SEG or RTSTRUCT file.
        names: Names of structures; the case of letters does not matter.
        image: Shape, affine and coordinate system of the image.

    Raises:
        DatasetError: when no structure has one of the names, the structures do not fit the image, or a contour or
            segmentation is of a kind that is not supported.
    """
    known = structure_names(path)
    wanted = {name.strip().casefold() for name in names}
    if not wanted & {name.casefold() for name in known}:
        raise DatasetError(
            f"{path}: has no structure {' or '.join(map(repr, names))}; it has {', '.join(known) or 'none'}",
            setting="structures",
        )
    if image.affine is None:
        raise DatasetError(f"{path}: structures need an image with a position in space, such as a DICOM series")
    data = _opened(path, path.stat().st_mtime_ns)
    read = _contours if str(data.SOPClassUID) == RTSTRUCT else _segments
    return read(path, data, wanted, image)


@lru_cache(maxsize=2)
def _opened(path: Path, changed: int) -> Any:
    """Return the dataset of a file; several classes are usually read from the same one."""
    return read_dataset(path)


def _check_frame(path: Path, frame: str, image: Header) -> None:
    if frame and image.frame and frame != image.frame:
        raise DatasetError(f"{path}: its coordinates (frame of reference {frame}) are not those of its image")


def _segments(path: Path, data: Any, wanted: set[str], image: Header) -> NDArray[np.uint8]:
    check_voxels(path, (int(data.get("NumberOfFrames", 1)), int(data.Rows), int(data.Columns)))
    if data.get("SegmentationType") == "FRACTIONAL":
        raise DatasetError(f"{path}: has fractional segments; binary ones are required")
    hd = highdicom(path)
    numbers = [
        int(each.SegmentNumber) for each in data.SegmentSequence if str(each.SegmentLabel).strip().casefold() in wanted
    ]
    _check_frame(path, str(data.get("FrameOfReferenceUID", "")), image)
    volume = hd.seg.Segmentation.from_dataset(data).get_volume(segment_numbers=numbers)
    united = volume.with_array((volume.array > 0).any(-1).astype(np.uint8))
    # Slices come first in DICOM, and columns in the grid of an image.
    grid = hd.VolumeGeometry(
        (_LPS @ _known(image.affine))[:, [2, 1, 0, 3]], image.shape[::-1], coordinate_system="PATIENT",
        frame_of_reference_uid=united.frame_of_reference_uid,
    )  # fmt: skip
    try:
        matched = united.match_geometry(grid, tol=_TOLERANCE)
    except RuntimeError as error:
        raise DatasetError(f"{path}: its grid is not that of its image ({error})") from error
    mask: NDArray[np.uint8] = matched.array.transpose(2, 1, 0)
    if mask.sum() != united.array.sum():
        raise DatasetError(f"{path}: {united.array.sum() - mask.sum()} voxels lie outside its image")
    return mask


def _contours(path: Path, data: Any, wanted: set[str], image: Header) -> NDArray[np.uint8]:
    rois = {
        int(each.ROINumber): str(each.get("ReferencedFrameOfReferenceUID", ""))
        for each in data.StructureSetROISequence
        if str(each.ROIName).strip().casefold() in wanted
    }
    to_index = np.linalg.inv(_LPS @ _known(image.affine))
    mask = np.zeros(image.shape, np.uint8)
    for roi in data.get("ROIContourSequence", ()):
        if int(roi.ReferencedROINumber) not in rois:
            continue
        _check_frame(path, rois[int(roi.ReferencedROINumber)], image)
        own = np.zeros(image.shape, np.uint8)
        for points in _polygons(path, roi):
            indices = points @ to_index[:3, :3].T + to_index[:3, 3]
            slices = indices[:, 2].round()
            if np.ptp(slices) or np.abs(indices[:, 2] - slices).max() > _OFF_SLICE:
                raise DatasetError(f"{path}: a contour does not lie on a slice of its image")
            if not 0 <= slices[0] < image.shape[2]:
                raise DatasetError(f"{path}: a contour lies outside its image")
            _fill(own[..., int(slices[0])], indices[:, :2])
        mask |= own
    return mask


def _polygons(path: Path, roi: Any) -> Iterator[NDArray[np.float64]]:
    """Yield the corners `(n, 3)` of each closed contour in mm."""
    for contour in roi.get("ContourSequence", ()):
        if contour.ContourGeometricType == "POINT":  # marks of a place, which have no area
            continue
        if contour.ContourGeometricType not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
            raise DatasetError(f"{path}: a contour is {contour.ContourGeometricType}; closed planar ones are required")
        yield np.array(contour.ContourData, np.float64).reshape(-1, 3)


def _fill(plane: NDArray[np.uint8], corners: NDArray[np.float64]) -> None:
    """Invert the pixels whose centres are inside a polygon: a contour within another one is a hole.

    Args:
        plane: A slice; it is changed.
        corners: Corners of the polygon in pixels, `(n, 2)`.
    """
    from matplotlib.path import Path as Polygon  # it takes time to import

    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, plane.shape)
    if (low >= high).any():
        return
    box = plane[low[0] : high[0], low[1] : high[1]]
    grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 2)
    box ^= Polygon(corners).contains_points(grid).reshape(box.shape).astype(np.uint8)


def _known(affine: NDArray[np.float64] | None) -> NDArray[np.float64]:
    assert affine is not None
    return affine
