"""What the DICOM files of a folder are: images of a series, or structures such as DICOM-SEG and RTSTRUCT."""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from stampbench.datasets.errors import DatasetError

DICOM = (".dcm", ".dicom", ".ima")
"""Endings of the files that are read."""
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""SOP classes of DICOM-SEG: segments with a mask each, and label maps."""
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
"""SOP class of contours of radiotherapy."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TAGS = ["SOPClassUID", "SeriesInstanceUID", "Rows"]


class _File(NamedTuple):
    """What a file's header says: its class, its series, and whether it has pixels."""

    kind: str
    series: str
    pixels: bool


def read_dataset(path: Path, *, pixels: bool = True, tags: list[str] | None = None) -> Any:
    """Return pydicom's dataset of a file.

    Args:
        path: The file.
        pixels: Whether the pixels are read, too.
        tags: The only attributes that are read; None: all.

    Raises:
        DatasetError: when the extra is not installed, or the file is compressed as a whole.
        Exception: those of pydicom, when it is no DICOM file.
    """
    pydicom = _imported(path, "pydicom")
    meta = pydicom.filereader.read_file_meta_info(path)
    if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:  # it could decompress to any size
        raise DatasetError(f"{path}: is deflated as a whole, which is not supported")
    return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=tags)


def highdicom(path: Path) -> Any:
    """Return the package `highdicom`; the path is that of the file that needs it.

    Raises:
        DatasetError: when it is not installed.
    """
    return _imported(path, "highdicom")


@lru_cache
def _quiet(pydicom: Any) -> None:
    """Silence warnings: files of scanners often break small rules of the standard, and what matters is checked here."""
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", module="pydicom|highdicom")


def _imported(path: Path, name: str) -> Any:
    from importlib import import_module

    try:
        _quiet(import_module("pydicom"))
        return import_module(name)
    except ImportError as error:
        raise DatasetError(
            f"{path}: DICOM files need the extra 'formats'; run: pip install 'stampbench[formats]'"
        ) from error


def series_of(path: Path) -> tuple[Path, ...]:
    """Return the files in a file's folder that are images of the same series, sorted by name; empty: it is no image."""
    files = _files(path.parent, path.parent.stat().st_mtime_ns)
    own = files.get(path.name)
    if own is None or not own.pixels or own.kind in SEGMENTATIONS:
        return ()
    same = (name for name, each in files.items() if each.pixels and (each.kind, each.series) == (own.kind, own.series))
    return tuple(path.with_name(name) for name in sorted(same)) if own.series else (path,)


def first_of_series(path: Path) -> Path | None:
    """Return the first file of the series of an image; None: the file is no image."""
    return next(iter(series_of(path)), None)


def has_structures(path: Path) -> bool:
    """Return whether a file is DICOM-SEG or RTSTRUCT."""
    own = _files(path.parent, path.parent.stat().st_mtime_ns).get(path.name)
    return own is not None and (own.kind in SEGMENTATIONS or own.kind == RTSTRUCT)


@lru_cache(maxsize=4096)
def _files(folder: Path, changed: int) -> dict[str, _File]:
    """Return what each file of a folder is; the time of the last change makes a changed folder a new one."""
    found = {}
    for path in folder.iterdir():
        if not path.name.lower().endswith(DICOM) or path.name.startswith(".") or not path.is_file():
            continue
        try:
            header = read_dataset(path, pixels=False, tags=_TAGS)
            kind, series = str(header.get("SOPClassUID", "")), str(header.get("SeriesInstanceUID", ""))
            found[path.name] = _File(kind, series, "Rows" in header)
        except DatasetError:
            raise
        except Exception:  # Whoever reads this file gets the error, and not whoever reads its neighbours.
            found[path.name] = _File("", "", True)
    return found
