"""A card holds the few header values that later decisions need, so that no header is parsed twice.

A card is JSON: it travels through the index. It never holds a patient's name, identifier or birth date.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from prognode.dicom.values import first_item, functional_group, integer, items, number, numbers, text, texts
from prognode.domain.geometry import ImagePlane, Vector

JSON = dict[str, Any]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.2"
MULTI_FRAME_CT = frozenset({ENHANCED_CT_IMAGE, LEGACY_CONVERTED_ENHANCED_CT_IMAGE})
CT_IMAGES = frozenset({CT_IMAGE}) | MULTI_FRAME_CT

COSINE_SLACK = 0.01
"""How far the cosines may be from unit length and right angles before the orientation is called wrong."""

_TEXTS = {
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "modality": "Modality",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "series_description": "SeriesDescription",
    "manufacturer": "Manufacturer",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "series_date": "SeriesDate",
    "series_time": "SeriesTime",
    "content_date": "ContentDate",
    "content_time": "ContentTime",
}
_CT_TEXTS = {
    "acquisition_date": "AcquisitionDate",
    "acquisition_time": "AcquisitionTime",
    "acquisition_datetime": "AcquisitionDateTime",
    "protocol_name": "ProtocolName",
    "body_part": "BodyPartExamined",
    "contrast_bolus_agent": "ContrastBolusAgent",
    "contrast_bolus_start_time": "ContrastBolusStartTime",
    "contrast_bolus_stop_time": "ContrastBolusStopTime",
}


def card(dataset: Dataset) -> JSON:
    """Return the card of any instance; bad values never raise.

    Always: the UIDs, ``modality``, ``series_description``, ``series_number``, ``instance_number``, dates and times,
    ``planes`` and ``problems``. CT images also: ``image_type`` (list), ``acquisition_*``, ``contrast_bolus_*``,
    ``body_part``, ``protocol_name``, ``slice_thickness`` (mm), and in ``planes`` one entry per frame; empty, with a
    sentence in ``problems``, where position, orientation, spacing or matrix are missing or make no sense. Other images
    with a position have their plane as well.
    """
    made: JSON = {key: text(dataset, keyword) for key, keyword in _TEXTS.items()}
    made["series_number"] = integer(dataset, "SeriesNumber")
    made["instance_number"] = integer(dataset, "InstanceNumber")
    made["planes"], made["problems"] = [], []
    if made["sop_class_uid"] in CT_IMAGES:
        _add_ct(made, dataset)
    elif (
        "ImagePositionPatient" in dataset
    ):  # MR, PET: nothing is measured there, but a statement can be pinned to it
        _add_plane(made, dataset, (dataset, dataset, dataset), frame=1)
    return made


def _add_ct(made: JSON, dataset: Dataset) -> None:
    made.update({key: text(dataset, keyword) for key, keyword in _CT_TEXTS.items()})
    agent = first_item(dataset, "ContrastBolusAgentSequence")
    made["contrast_bolus_agent"] = made["contrast_bolus_agent"] or (
        text(agent, "CodeMeaning") if agent else ""
    )
    made["image_type"] = texts(dataset, "ImageType")
    made["acquisition_number"] = integer(dataset, "AcquisitionNumber")
    made["slice_thickness"] = number(dataset, "SliceThickness")
    if made["sop_class_uid"] in MULTI_FRAME_CT:
        _add_frames(made, dataset)
    else:
        _add_plane(made, dataset, (dataset, dataset, dataset), frame=1)


def _add_frames(made: JSON, dataset: Dataset) -> None:
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    for index, frame in enumerate(items(dataset, "PerFrameFunctionalGroupsSequence")):
        position, orientation, measures = (
            functional_group(frame, shared, keyword)
            for keyword in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
        )
        if measures is not None and made["slice_thickness"] is None:
            made["slice_thickness"] = number(measures, "SliceThickness")
        _add_plane(made, dataset, (position, orientation, measures), frame=index + 1)
    if not made["planes"] and not made["problems"]:
        made["problems"].append("the multi-frame image has no frames")


def _add_plane(
    made: JSON, dataset: Dataset, groups: tuple[Dataset | None, Dataset | None, Dataset | None], frame: int
) -> None:
    position = _numbers(groups[0], "ImagePositionPatient", 3)
    orientation = _numbers(groups[1], "ImageOrientationPatient", 6)
    spacing = _numbers(groups[2], "PixelSpacing", 2)
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    problem = _problem(position, orientation, spacing, rows, columns)
    if problem:
        made["problems"].append(problem if frame == 1 else f"frame {frame}: {problem}")
        return
    made["planes"].append(
        {
            "frame": frame,
            "position": position,
            "orientation": orientation,
            "spacing": spacing,
            "matrix": [rows, columns],
        }
    )


def _numbers(dataset: Dataset | None, keyword: str, count: int) -> list[float] | None:
    found = None if dataset is None else numbers(dataset, keyword, count)
    return None if found is None else list(found)


def _problem(
    position: list[float] | None,
    orientation: list[float] | None,
    spacing: list[float] | None,
    rows: int | None,
    columns: int | None,
) -> str:
    if position is None:
        return "no usable position"
    if orientation is None or not _orthonormal(orientation):
        return "no usable orientation"
    if spacing is None or min(spacing) <= 0:
        return "no usable pixel spacing"
    if not rows or not columns or min(rows, columns) < 1:
        return "no usable matrix"
    return ""


def _orthonormal(cosines: list[float]) -> bool:
    a, b = cosines[:3], cosines[3:]
    products = (
        sum(x * x for x in a) - 1,
        sum(y * y for y in b) - 1,
        sum(x * y for x, y in zip(a, b, strict=True)),
    )
    return all(abs(product) <= COSINE_SLACK for product in products)


def planes_from_card(made: JSON) -> tuple[ImagePlane, ...]:
    """Return the planes of a CT card, in frame order; empty when it has none."""
    return tuple(_plane(made, entry) for entry in made.get("planes", ()))


def _plane(made: JSON, entry: JSON) -> ImagePlane:
    cosines = entry["orientation"]
    return ImagePlane(
        sop_instance_uid=made["sop_instance_uid"],
        position_lps_mm=_vector(entry["position"]),
        row_cosines=_vector(cosines[:3]),
        column_cosines=_vector(cosines[3:]),
        row_spacing_mm=entry["spacing"][0],
        column_spacing_mm=entry["spacing"][1],
        rows=entry["matrix"][0],
        columns=entry["matrix"][1],
        frame=entry["frame"],
        instance_number=made.get("instance_number"),
    )


def _vector(values: list[float]) -> Vector:
    x, y, z = values
    return (x, y, z)
