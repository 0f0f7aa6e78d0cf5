"""Which images of a CT series are slices of the volume.

Series as sent also hold localizers, dose sheets, bolus-tracking frames and reformats; they are set aside with a note,
so that a person can see what was not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from prognode.dicom.cards import CT_IMAGES, JSON, planes_from_card
from prognode.domain.geometry import ImagePlane, unit_normal

NOT_SLICES = ("LOCALIZER", "SCOUT", "DOSE", "SCREEN SAVE", "SMARTPREP", "BOLUS")
"""Beginnings of Image Type values of images that are no slices of the volume (PS3.3 C.8.2.1.1.1 and vendors' own)."""
FOREIGN_ANGLE_COSINE = 0.9
"""A plane more than some 25 degrees off the majority's normal is a localizer or a reformat."""


def is_ct_image(made: JSON) -> bool:
    """Tell whether the card is of a CT image, classic or multi-frame."""
    return made.get("sop_class_uid") in CT_IMAGES


def usable_planes(made: Iterable[JSON]) -> tuple[tuple[ImagePlane, ...], tuple[str, ...]]:
    """Return the planes of one series' cards that belong to its volume, and a note for every kind left out.

    Left out are images whose Image Type says that they are no slices, images without position, and images whose
    orientation differs grossly from the majority's. Small differences stay in, for
    :func:`prognode.domain.geometry.build_stack` to refuse.
    """
    planes: list[ImagePlane] = []
    notes: Counter[str] = Counter()
    for one in made:
        why = _why_not(one)
        if why:
            notes[why] += 1
        else:
            planes.extend(planes_from_card(one))
            notes.update(one["problems"])
    kept = _of_majority(planes)
    if len(kept) < len(planes):
        notes["other orientation than most of the series (localizer or reformat)"] += len(planes) - len(kept)
    return kept, tuple(f"{count} not used: {why}" for why, count in notes.items())


def _why_not(made: JSON) -> str:
    if not is_ct_image(made):
        return "no CT image"
    for value in made.get("image_type", ()):
        if value.upper().startswith(NOT_SLICES):
            return f"image type {value.upper()}"
    if not made["planes"]:
        return next(iter(made["problems"]), "no usable position")
    return ""


def _of_majority(planes: Sequence[ImagePlane]) -> tuple[ImagePlane, ...]:
    if not planes:
        return ()
    orientations = [(plane.row_cosines, plane.column_cosines) for plane in planes]
    normal_of = {pair: unit_normal(*pair) for pair in set(orientations)}
    normals = np.array([normal_of[pair] for pair in orientations])
    alike = np.abs(normals @ normals.T) > FOREIGN_ANGLE_COSINE
    chosen = alike[int(np.argmax(alike.sum(axis=1)))]
    return tuple(plane for plane, keep in zip(planes, chosen, strict=True) if keep)
