"""Segmentations as ITK-SNAP saves them (NIfTI), as ROIs in DICOM patient space (paper, CT acquisition and segmentation).

A NIfTI file names no images: where it lies is all that ties it to a series. Its axes may run in any direction; they are
turned so that slices are stacked along the patient's long axis. Each label of the file is one ROI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prognode.domain.geometry import ImagePlane, Vector, unit_normal
from prognode.domain.roi import Roi, box_of, pixel_centres_lps, section_from_mask
from prognode.errors import InvalidInput, Reason

Labels = NDArray[np.int64]
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""What ITK-SNAP writes; all are read the same way."""


def is_label_image(path: Path) -> bool:
    """Whether the file's name says that it is a label image and no DICOM object."""
    return path.name.lower().endswith(SUFFIXES)


def read_label_image(path: Path) -> tuple[Roi, ...]:
    """One ROI for each label above zero, by ascending label; ``number`` is the label.

    Raises InvalidInput ROI_UNREADABLE for a file that is no three-dimensional image of whole numbers, ROI_EMPTY when
    nothing is labelled.
    """
    image = _read(path)
    found = [int(label) for label in np.unique(image.labels) if label > 0]
    if not found:
        raise InvalidInput(Reason.ROI_EMPTY, f"{path.name} labels nothing")
    identity = "label-image." + hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return tuple(_roi(image, label, identity) for label in found)


@dataclass(frozen=True, slots=True)
class _LabelImage:
    """A label image whose planes are stacked towards the head."""

    labels: Labels
    """(planes, rows, columns)."""
    first: ImagePlane
    step_mm: Vector
    """From one plane to the next."""

    def plane(self, index: int) -> ImagePlane:
        x, y, z = (at + index * by for at, by in zip(self.first.position_lps_mm, self.step_mm, strict=True))
        return replace(self.first, position_lps_mm=(x, y, z))


def _read(path: Path) -> _LabelImage:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        raise InvalidInput(Reason.ROI_UNREADABLE, f"{path.name} cannot be read as an image") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InvalidInput(Reason.ROI_UNREADABLE, f"{path.name} is not a three-dimensional label image")
    image = SimpleITK.DICOMOrient(image, "LPS")
    values = SimpleITK.GetArrayFromImage(image)
    labels = np.rint(values).astype(np.int64)
    if not np.array_equal(labels, values):
        raise InvalidInput(Reason.ROI_UNREADABLE, f"{path.name} holds fractions, not labels")
    rows, columns, planes = (_vector(axis) for axis in np.array(image.GetDirection()).reshape(3, 3).T)
    column_mm, row_mm, plane_mm = image.GetSpacing()
    first = ImagePlane(
        sop_instance_uid="",
        position_lps_mm=_vector(image.GetOrigin()),
        row_cosines=rows,
        column_cosines=columns,
        row_spacing_mm=row_mm,
        column_spacing_mm=column_mm,
        rows=values.shape[1],
        columns=values.shape[2],
    )
    return _LabelImage(labels, first, _vector(plane_mm * np.array(planes)))


def _vector(values: Iterable[float]) -> Vector:
    x, y, z = (float(value) for value in values)
    return (x, y, z)


def _roi(image: _LabelImage, label: int, identity: str) -> Roi:
    mask = image.labels == label
    normal = unit_normal(image.first.row_cosines, image.first.column_cosines)
    planes = {int(index): image.plane(int(index)) for index in np.flatnonzero(mask.any(axis=(1, 2)))}
    offsets = {index: float(np.dot(plane.position_lps_mm, normal)) for index, plane in planes.items()}
    ascending = sorted(planes, key=lambda index: offsets[index])
    sections = tuple(section_from_mask(mask[index], planes[index], offsets[index]) for index in ascending)
    return Roi(
        kind="NIFTI",
        object_uid=identity,
        number=label,
        name=f"label {label}",
        normal=normal,
        sections=sections,
        frame_of_reference_uid=None,
        referenced_series_uids=(),
        referenced_image_uids=(),
        volume_mm3=sum(section.area_mm2 for section in sections) * float(np.linalg.norm(image.step_mm)),
        bounding_box_lps_mm=box_of(
            np.concatenate([pixel_centres_lps(mask[index], plane) for index, plane in planes.items()])
        ),
    )
