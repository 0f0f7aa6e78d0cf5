"""Content items of a structured report (PS3.3 C.17.3) as small constructors over pydicom.

highdicom writes the same items with checks at every level, which costs five times as long; here the checks are tests:
the trees are read back with highdicom and judged by three validators.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from prognode.dicom.codes import Code

CONTAINS = "CONTAINS"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
SELECTED_FROM = "SELECTED FROM"


def attributes(*elements: tuple[int, str, Any]) -> Dataset:
    """Dataset of (tag, VR, value) triples; only names are converted, which saves half of the time."""
    return Dataset({BaseTag(tag): _element(tag, vr, value) for tag, vr, value in elements})


def _element(tag: int, vr: str, value: Any) -> DataElement:
    stored = Sequence(value) if vr == "SQ" else value
    return DataElement(BaseTag(tag), vr, stored, already_converted=vr != "PN")


def coded(code: Code) -> list[Dataset]:
    """Code sequence with one item (PS3.3 8.8)."""
    return [
        attributes(
            (0x00080100, "SH", code.value), (0x00080102, "SH", code.scheme), (0x00080104, "LO", code.meaning)
        )
    ]


def decimal_string(value: float) -> str:
    """DS of at most 16 characters with nine or ten significant digits (PS3.5 6.2); ``ValueError`` unless finite."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be a numeric value of a report")
    text = f"{value:.10g}"
    return text if len(text) <= 16 else f"{value:.9g}"


def item(
    relationship: str,
    value_type: str,
    name: Code,
    values: Iterable[tuple[int, str, Any]],
    children: Iterable[Dataset] = (),
) -> Dataset:
    """Any content item: relationship to its parent, value type, concept name, value attributes, children."""
    dataset = attributes(
        (0x0040A010, "CS", relationship),
        (0x0040A040, "CS", value_type),
        (0x0040A043, "SQ", coded(name)),
        *values,
    )
    below = list(children)
    if below:
        dataset.add(_element(0x0040A730, "SQ", below))
    return dataset


def container(name: Code, children: Iterable[Dataset], template: str = "") -> Dataset:
    """CONTAINER, with its DCMR template identifier where it has one."""
    values: list[tuple[int, str, Any]] = [(0x0040A050, "CS", "SEPARATE")]
    if template:
        values.append(
            (0x0040A504, "SQ", [attributes((0x00080105, "CS", "DCMR"), (0x0040DB00, "CS", template))])
        )
    return item(CONTAINS, "CONTAINER", name, values, children)


def code(relationship: str, name: Code, value: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """CODE."""
    return item(relationship, "CODE", name, [(0x0040A168, "SQ", coded(value))], children)


def text(relationship: str, name: Code, value: str) -> Dataset:
    """TEXT; an empty value is written as a dash, because a TEXT item has one (type 1)."""
    return item(relationship, "TEXT", name, [(0x0040A160, "UT", value or "-")])


def uidref(relationship: str, name: Code, value: str) -> Dataset:
    """UIDREF."""
    return item(relationship, "UIDREF", name, [(0x0040A124, "UI", value)])


def num(relationship: str, name: Code, value: float, unit: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """NUM: value in ``unit``, rounded to ten significant digits."""
    measured = attributes((0x004008EA, "SQ", coded(unit)), (0x0040A30A, "DS", decimal_string(value)))
    return item(relationship, "NUM", name, [(0x0040A300, "SQ", [measured])], children)


def reference(
    sop_class_uid: str, sop_instance_uid: str, *, frame: int | None = None, segment: int | None = None
) -> Dataset:
    """Item of a Referenced SOP Sequence; ``frame`` is for multi-frame images only, ``segment`` for segmentations."""
    dataset = attributes((0x00081150, "UI", sop_class_uid), (0x00081155, "UI", sop_instance_uid))
    if frame is not None:
        dataset.add(_element(0x00081160, "IS", str(frame)))
    if segment is not None:
        dataset.add(_element(0x0062000B, "US", segment))
    return dataset


def image(relationship: str, name: Code, referenced: Dataset, children: Iterable[Dataset] = ()) -> Dataset:
    """IMAGE."""
    return item(relationship, "IMAGE", name, [(0x00081199, "SQ", [referenced])], children)


def composite(
    relationship: str, name: Code, referenced: Dataset, children: Iterable[Dataset] = ()
) -> Dataset:
    """COMPOSITE: an object that is no image."""
    return item(relationship, "COMPOSITE", name, [(0x00081199, "SQ", [referenced])], children)


def scoord(name: Code, graphic_type: str, points: NDArray[np.float64], selected_from: Dataset) -> Dataset:
    """SCOORD: ``points`` (n, 2) as (column, row), image relative (PS3.3 C.18.6), on one source image."""
    data = points.astype(np.float32).ravel().tolist()
    return item(
        CONTAINS,
        "SCOORD",
        name,
        [(0x00700022, "FL", data), (0x00700023, "CS", graphic_type)],
        [image(SELECTED_FROM, SOURCE_IMAGE, selected_from)],
    )


SOURCE_IMAGE = Code("260753009", "SCT", "Source")
