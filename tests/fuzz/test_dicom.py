"""Mutated DICOM files: an image, or one line that names a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stampbench.datasets.formats import image_io

FUZZ = settings.get_profile("fuzz")
SHAPE = (6, 5, 3)


@pytest.fixture(scope="module")
def files(dicom: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A series, and structures on it, by path."""
    folder = tmp_path_factory.mktemp("dicom")
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 1:4, 1:] = True
    sources = dicom.series(folder / "ct", np.arange(90).reshape(SHAPE).astype(np.int16))
    dicom.segmentation(folder / "seg" / "a.dcm", sources, {"a": mask})
    corners = np.array([(0.5, 0.5, 1), (3.5, 0.5, 1), (3.5, 3.5, 1)])
    dicom.contours(folder / "rt" / "a.dcm", sources, {"a": [corners]})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.dcm")}


@settings(FUZZ, max_examples=max(20, FUZZ.max_examples))
@given(data=st.data())
def test_dicom(
    data: st.DataObject, files: dict[str, bytes], edit: Any, refusal: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / str(data.draw(st.integers(0, 10**9)))
    changed = data.draw(st.sampled_from(sorted(files)))
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            edit.bytes(data, content, data.draw(st.sampled_from([None, 1500]))) if name == changed else content
        )
    image = folder / "ct" / "1-001.dcm"
    for call in (
        lambda: image_io.read(image),
        lambda: image_io.header(image),
        lambda: image_io.companions(image),
        lambda: image_io.mask(folder / "seg" / "a.dcm", ("a",), image),
        lambda: image_io.mask(folder / "rt" / "a.dcm", ("a",), image),
    ):
        message = refusal(call)
        assert not message or (str(folder) in message and "\n" not in message)
