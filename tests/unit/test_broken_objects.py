"""Whatever element an object lacks or empties, reading it ends in a result or a reason, never in a crash."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from roi_objects import SQUARE, at, contour, ct_image, image_uid, segmentation, structure_set

from prognode.dicom.cards import card
from prognode.dicom.pixels import hounsfield
from prognode.dicom.rtstruct import read_rtstruct
from prognode.dicom.seg import read_seg
from prognode.errors import InvalidInput

Path = tuple[tuple[BaseTag, int], ...]


def a_structure_set() -> Dataset:
    drawn = [contour(at(SQUARE, z), image=image_uid(z)) for z in (0, 1)]
    return structure_set([(1, "Tumour", drawn)], {"2.25.7": [image_uid(0), image_uid(1)]})


def a_segmentation(kind: str, bits: int) -> Dataset:
    masks = [np.eye(5, dtype=np.uint8)] * 2
    return segmentation(masks, [(0, 0, 0), (0, 0, 1)], [1, 1], kind=kind, bits=bits, MaximumFractionalValue=1)


OBJECTS: dict[str, tuple[Dataset, Callable[[Dataset], object]]] = {
    "rtstruct": (a_structure_set(), read_rtstruct),
    "binary": (a_segmentation("BINARY", 1), read_seg),
    "fractional": (a_segmentation("FRACTIONAL", 8), read_seg),
    "labelmap": (a_segmentation("LABELMAP", 8), read_seg),
    "ct header": (ct_image(np.zeros((3, 4), np.int16)), card),
    "ct pixels": (ct_image(np.zeros((3, 4), np.int16)), hounsfield),
}


def elements(dataset: Dataset, path: Path = ()) -> Iterator[tuple[Path, BaseTag]]:
    """Every element at any depth."""
    for element in dataset:
        yield path, element.tag
        if element.VR == "SQ":
            for index, item in enumerate(element.value):
                yield from elements(item, (*path, (element.tag, index)))


def owner(dataset: Dataset, path: Path) -> Dataset:
    for tag, index in path:
        dataset = dataset[tag].value[index]
    return dataset


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("fault", ["absent", "empty", "number"])
def test_no_single_fault_crashes_a_reader(name: str, fault: str) -> None:
    """Each element in turn is removed, emptied, or (where it is a number) made senseless."""
    whole, reader = OBJECTS[name]
    tried = 0
    for path, tag in list(elements(whole)):
        broken = copy.deepcopy(whole)
        place = owner(broken, path)
        if fault == "absent":
            del place[tag]
        elif fault == "empty":
            place[tag].value = None
        elif place[tag].VR in ("DS", "IS", "US"):
            place[tag].value = 0 if place[tag].VR == "US" else "-1"
        try:
            reader(broken)
        except InvalidInput as refused:
            assert refused.detail
        tried += 1
    assert tried > 15
