"""DICOM files that tests write: series, DICOM-SEG and RTSTRUCT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)

SPACING = (0.8, 0.5, 2.5)
"""Distances of columns, rows and slices in mm."""


def dataset(sop_class: str, **values: Any) -> Dataset:
    """Return a dataset with what all files have."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    defaults = {"PatientID": "p", "PatientName": "p^", "StudyID": "1", "StudyInstanceUID": generate_uid(),
                "SeriesInstanceUID": generate_uid(), "SeriesNumber": 1, "PatientBirthDate": "", "PatientSex": "O",
                "StudyDate": "20260101", "StudyTime": "120000", "AccessionNumber": "",
                "ReferringPhysicianName": ""}  # fmt: skip
    for name, value in (defaults | values).items():
        setattr(data, name, value)
    return data


def with_pixels(data: Dataset, pixels: NDArray[np.uint16], **values: Any) -> Dataset:
    """Add the pixels of a grey image to a dataset."""
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 1, 16, 16, 15, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = pixels.astype("<u2").tobytes()
    for name, value in values.items():
        setattr(data, name, value)
    return data


def save(data: Dataset, path: Path) -> None:
    """Write a dataset, and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def series(folder: Path, volume: NDArray[np.int16], **values: Any) -> list[Dataset]:
    """Write a CT series of a volume `(x, y, z)` in HU; the names of files are in the reverse order of slices.

    Columns run to the left, rows to the back, slices to the head, which is DICOM's usual orientation.
    """
    written = []
    uid, frame, study = generate_uid(), generate_uid(), generate_uid()
    for z in range(volume.shape[2]):
        data = dataset(
            CTImageStorage, Modality="CT", SeriesInstanceUID=uid, StudyInstanceUID=study, FrameOfReferenceUID=frame,
            InstanceNumber=z + 1, ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[SPACING[1], SPACING[0]],
            ImagePositionPatient=[-10, 20, 30 + SPACING[2] * z], SliceThickness=SPACING[2],
            PositionReferenceIndicator="",
        )  # fmt: skip
        with_pixels(data, (volume[:, :, z].T + 1024).astype(np.uint16), RescaleSlope=1, RescaleIntercept=-1024)
        for name, value in values.items():
            setattr(data, name, value)
        save(data, folder / f"1-{volume.shape[2] - z:03d}.dcm")
        written.append(data)
    return written


def segmentation(path: Path, sources: list[Dataset], masks: dict[str, NDArray[np.bool_]]) -> None:
    """Write masks `(x, y, z)` on a series as DICOM-SEG, without its empty slices."""
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number, segment_label=name, segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver, algorithm_type="MANUAL",
        )
        for number, name in enumerate(masks, start=1)
    ]  # fmt: skip
    written = hd.seg.Segmentation(
        source_images=sources, pixel_array=np.stack([mask.T for mask in masks.values()], -1).astype(np.uint8),
        segmentation_type="BINARY", segment_descriptions=descriptions, series_instance_uid=generate_uid(),
        series_number=2, sop_instance_uid=generate_uid(), instance_number=1, manufacturer="x",
        manufacturer_model_name="x", software_versions="1", device_serial_number="1",
    )  # fmt: skip
    save(written, path)


def contours(path: Path, sources: list[Dataset], polygons: dict[str, list[NDArray[np.float64]]], **values: Any) -> None:
    """Write polygons, whose corners `(n, 3)` are in voxels of a series, as RTSTRUCT."""
    frame = sources[0].FrameOfReferenceUID
    data = dataset(RTStructureSetStorage, Modality="RTSTRUCT", StructureSetLabel="x")
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, own) in enumerate(polygons.items(), start=7):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for corners in own:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(corners)
            contour.ContourData = (corners * SPACING + [-10, 20, 30]).ravel().round(4).tolist()
            for key, value in values.items():
                setattr(contour, key, value)
            drawn.ContourSequence.append(contour)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    save(data, path)


def radiograph(path: Path, pixels: NDArray[np.uint16], **values: Any) -> None:
    """Write a 2D image without a position in space."""
    data = dataset(DigitalXRayImageStorageForPresentation, Modality="DX", InstanceNumber=1)
    save(with_pixels(data, pixels, **values), path)
