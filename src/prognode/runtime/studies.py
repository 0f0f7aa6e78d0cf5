"""Turns index rows and stored objects into domain values: series with their planes, ROIs, pixels, headers."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset

from prognode.dicom.ct import usable_planes
from prognode.dicom.pixels import hounsfield
from prognode.dicom.rtstruct import read_rtstruct
from prognode.dicom.seg import read_seg
from prognode.domain.geometry import ImagePlane
from prognode.domain.readiness import SeriesView
from prognode.domain.roi import Roi
from prognode.ports import Instance, ObjectStore
from prognode.runtime.phases import series_header
from prognode.runtime.stored import stored

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
READ_AHEAD = 8
"""Images that are read from the store at one time."""
ROI_CLASSES = (RTSTRUCT_CLASS, *SEG_CLASSES)


def is_roi_object(instance: Instance) -> bool:
    """Whether the instance carries contours: RTSTRUCT, SEG or label map SEG."""
    return instance.sop_class_uid in ROI_CLASSES


@dataclass
class StudyReader:
    """Reads what the index and the object store hold of a study. Parsed ROI objects are kept: they do not change."""

    objects: ObjectStore
    _rois: dict[str, tuple[Roi, ...]] = field(default_factory=dict)

    def header(self, instance: Instance) -> Dataset:
        """The stored instance without its pixel data."""
        return self.headers([instance])[0]

    def headers(self, instances: Sequence[Instance]) -> list[Dataset]:
        """The stored instances without their pixel data, in their order."""
        files = self._files(instances)
        return [pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True) for file in files]

    def rois(self, instances: Iterable[Instance]) -> list[Roi]:
        """Every ROI of every RTSTRUCT and SEG among ``instances``."""
        found: list[Roi] = []
        for instance in instances:
            if is_roi_object(instance):
                found.extend(self._read(instance))
        return found

    def _read(self, instance: Instance) -> tuple[Roi, ...]:
        known = self._rois.get(instance.sha256)
        if known is None:
            file = stored(self.objects, instance.object_key)
            known = read_roi_object(pydicom.dcmread(io.BytesIO(file)))
            if len(self._rois) > 64:
                self._rois.clear()
            self._rois[instance.sha256] = known
        return known

    def hounsfield_stack(
        self, planes: Sequence[ImagePlane], by_uid: Mapping[str, Instance]
    ) -> NDArray[np.float32]:
        """(n, rows, columns) Hounsfield units of ``planes`` in their order."""
        volume = np.empty((len(planes), planes[0].rows, planes[0].columns), np.float32)
        files = self._files([by_uid[plane.sop_instance_uid] for plane in planes])
        for plane, out, file in zip(planes, volume, files, strict=True):
            hounsfield(pydicom.dcmread(io.BytesIO(file)), plane.frame, out)
        return volume

    def _files(self, instances: Sequence[Instance]) -> Iterator[bytes]:
        """What is stored of ``instances``, in their order."""
        # a store on the network answers one request after the other; the next ones are asked for meanwhile
        with ThreadPoolExecutor(READ_AHEAD) as pool:
            yield from pool.map(lambda instance: stored(self.objects, instance.object_key), instances)


def read_roi_object(dataset: Dataset) -> tuple[Roi, ...]:
    """Every ROI of an RTSTRUCT or SEG data set. Raises InvalidInput when it cannot be read at all."""
    reader = read_rtstruct if dataset.get("SOPClassUID") == RTSTRUCT_CLASS else read_seg
    return reader(dataset)


def series_views(instances: Iterable[Instance]) -> list[SeriesView]:
    """Image series among ``instances``, each with the planes that are durable so far."""
    by_series: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        if not is_roi_object(instance) and instance.card.get("planes") is not None:
            by_series[instance.series_instance_uid].append(instance)
    return [_view(members) for _, members in sorted(by_series.items())]


def _view(members: Sequence[Instance]) -> SeriesView:
    planes, problems = usable_planes([instance.card for instance in members])
    first = members[0]
    return SeriesView(
        series_instance_uid=first.series_instance_uid,
        study_instance_uid=first.study_instance_uid,
        modality=first.modality,
        frame_of_reference_uid=first.card.get("frame_of_reference_uid"),
        planes=tuple(planes),
        description=str(first.card.get("series_description") or ""),
        timing=series_header(members).timing,
        problems=tuple(problems),
        unusable_uids=_unusable(members, planes),
    )


def _unusable(members: Sequence[Instance], planes: Sequence[ImagePlane]) -> tuple[str, ...]:
    """Images that are here and are no slice (localizers, reformats): nobody waits for them."""
    used = {plane.sop_instance_uid for plane in planes}
    return tuple(i.sop_instance_uid for i in members if i.sop_instance_uid not in used)
