"""Which images an ROI object says it was drawn on.

Objects name a whole series, the images of single contours, both, neither, or several series; what they name may not
exist. Here the names are only gathered; geometry decides later whether they are true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydicom.dataset import Dataset

from prognode.dicom.values import items, text


class Sources(NamedTuple):
    """The series and the images that an ROI was drawn on, in the object's order."""

    series_uids: tuple[str, ...]
    image_uids: tuple[str, ...]


def instance_uids(dataset: Dataset | None, keyword: str) -> list[str]:
    """Return the Referenced SOP Instance UIDs in a sequence."""
    return [
        uid for uid in (text(item, "ReferencedSOPInstanceUID") for item in items(dataset, keyword)) if uid
    ]


def choose_sources(series: Mapping[str, Sequence[str]], drawn_on: Iterable[str]) -> Sources:
    """Choose among the referenced ``series`` (UID to image UIDs) those that hold the images a ROI was drawn on.

    All series stay when the ROI's own images tell nothing. Images that the ROI names outside the series' lists follow
    at the end.
    """
    own = tuple(dict.fromkeys(drawn_on))
    chosen = {uid: images for uid, images in series.items() if set(images) & set(own)} or dict(series)
    listed = [image for images in chosen.values() for image in images]
    return Sources(tuple(chosen), tuple(dict.fromkeys([*listed, *own])))
