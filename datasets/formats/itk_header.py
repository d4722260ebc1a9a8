"""Check headers of NRRD, MHA and MHD files before SimpleITK reads them, whose parsers may crash on damaged ones."""

from __future__ import annotations

import re
from pathlib import Path

from stampbench.datasets.errors import DatasetError

_MOST_BYTES = 2**16
"""Most bytes of a header."""
_LONGEST_LINE = 4000
_META = re.compile(rb"([^\s=][^=\r\n]{0,99}?)\s*=\s*(.*?)\s*\r?\n")
_NRRD = re.compile(rb"([^\s:#][^:\r\n]{0,99}):=?\s*(.*?)\s*\r?\n")
_NUMBER = re.compile(r"[-+]?(?=\.?\d)\d{0,30}\.?\d{0,30}(?:[eE][-+]?\d{1,3})?", re.ASCII)
_NUMBERS = {
    "ndims": "1", "dimsize": "n", "offset": "n", "position": "n", "origin": "n", "centerofrotation": "n",
    "elementspacing": "n", "elementsize": "n", "transformmatrix": "n²", "rotation": "n²", "orientation": "n²",
    "compresseddatasize": "1", "headersize": "1", "elementnumberofchannels": "1", "elementmin": "1", "elementmax": "1",
    "id": "1", "parentid": "1", "compressionlevel": "1", "color": "4", "sequenceid": "n", "dimension": "1",
    "sizes": "n", "byte skip": "1", "line skip": "1",
}  # fmt: skip
"""How many numbers keys have in lower case: n is the number of dimensions."""


def check_header(path: Path) -> str | None:
    """Check a header, and return the name of the file with the voxels; None: they follow the header.

    Raises:
        DatasetError: when a key is there twice or has other numbers than its dimensions require, the header has no
            end, or the voxels are in another folder, in several files, or not where the ending says.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    nrrd = path.suffix.lower() in (".nrrd", ".nhdr")
    keys = _nrrd_keys(path, content) if nrrd else _meta_keys(path, content)
    dims = keys.get("dimension" if nrrd else "ndims", "")
    if not re.fullmatch("[1-4]", dims):
        raise DatasetError(f"{path}: has {dims[:20] or 'no'} dimensions; 2 or 3 are required")
    counts = {"1": 1, "4": 4, "n": int(dims), "n²": int(dims) ** 2}
    for key, value in keys.items():
        numbers = value.split()
        wrong = key in _NUMBERS and len(numbers) != counts[_NUMBERS[key]]
        if wrong or (key in _NUMBERS and not all(map(_NUMBER.fullmatch, numbers))):
            raise DatasetError(f"{path}: header: {key} is {value[:40]!r}, with {dims} dimensions")
    name = next((keys[key] for key in ("elementdatafile", "data file", "datafile") if key in keys), "LOCAL")
    if path.suffix.lower() in (".mhd", ".nhdr"):
        if name.upper().startswith("LIST") or "%" in name or not name or Path(name).name != name:
            raise DatasetError(f"{path}: its voxels must be in one file of the same folder, not in '{name[:99]}'")
    elif name != "LOCAL":
        raise DatasetError(f"{path}: its voxels must follow the header, and are not in '{name[:99]}'")
    return None if name == "LOCAL" else name


def _meta_keys(path: Path, content: bytes) -> dict[str, str]:
    """Return the values of a MetaImage header in the order of its lines; the file of the voxels comes last."""
    keys: dict[str, str] = {}
    at = 0
    while "elementdatafile" not in keys:
        line = _META.match(content, at)
        if line is None:
            raise DatasetError(f"{path}: header: line {len(keys) + 1} is no 'key = value'; the file may be truncated")
        _add(path, keys, line[1], line[2])
        if "ndims" not in keys and line[1].lower().decode(errors="replace") in _NUMBERS:
            raise DatasetError(f"{path}: header: NDims must come before numbers")
        at = line.end()
    return keys


def _nrrd_keys(path: Path, content: bytes) -> dict[str, str]:
    """Return the values of a NRRD header, which ends with an empty line or with the file."""
    if not content.startswith(b"NRRD"):
        raise DatasetError(f"{path}: header: does not begin with NRRD")
    header = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0].rstrip() + b"\n"
    if len(header) > _MOST_BYTES:
        raise DatasetError(f"{path}: header: has more than {_MOST_BYTES:,} bytes, or no end")
    keys: dict[str, str] = {}
    for line in header.splitlines(keepends=True)[1:]:
        if line.startswith(b"#"):
            continue
        match = _NRRD.fullmatch(line)
        if match is None:
            raise DatasetError(f"{path}: header: line {line[:40]!r} is no 'key: value'")
        _add(path, keys, match[1], match[2])
    return keys


def _add(path: Path, keys: dict[str, str], key: bytes, value: bytes) -> None:
    name, text = key.decode(errors="replace").lower(), value.decode(errors="replace")
    if name in keys or len(text) > _LONGEST_LINE:
        raise DatasetError(f"{path}: header: {name[:40]} is there twice, or longer than {_LONGEST_LINE} characters")
    keys[name] = text
