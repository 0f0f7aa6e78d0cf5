"""The need-set in, both crops and the contours' measures out. Reads exactly the images that the case needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.crop import CropWindow, crop
from prognode.domain.geometry import Stack, build_stack, pixel_from_lps
from prognode.domain.need_set import NeedSet
from prognode.domain.phase import (
    DescriptionRules,
    PhaseEvidence,
    decide_phases,
    header_evidence,
    hounsfield_evidence,
)
from prognode.domain.prognosis import Phase
from prognode.domain.readiness import needs_from_json
from prognode.domain.report import PhaseFinding, RoiReference
from prognode.domain.roi import Match, Roi, largest_of, longest_diameter_mm, match_roi
from prognode.errors import InvalidInput
from prognode.events import facts
from prognode.ports import Case, Event, Index, Instance, ObjectStore
from prognode.runtime.crop_archive import CropArchive
from prognode.runtime.keys import crop_key
from prognode.runtime.phases import series_headers
from prognode.runtime.studies import StudyReader
from prognode.runtime.worker import Handler
from services.preprocess.settings import PreprocessSettings


@dataclass(frozen=True)
class _Series:
    """One drawn-on series of the need-set, read from the store."""

    uid: str
    roi: Roi
    roi_object: Instance
    match: Match
    stack: Stack
    hu: NDArray[np.float32]
    window: CropWindow
    crop_hu: NDArray[np.float32]
    aorta_hu: float | None
    remarks: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class Preprocess:
    """The preprocess service's handler over its ports."""

    index: Index
    objects: ObjectStore
    reader: StudyReader
    """Shared with whoever read the contours before: an RTSTRUCT is parsed once."""
    settings: PreprocessSettings

    group = "preprocess"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What this service consumes."""
        return {facts.CASE_READY: self.on_case_ready}

    def on_case_ready(self, event: Event) -> Sequence[Event]:
        """Cut the crops, or say why they cannot be cut."""
        case = self.index.case(event.key)
        inputs = str(event.payload["input_digest"])
        if case is None or case.input_digest != inputs:
            return []  # the inputs have changed since: a newer event speaks for them
        key = crop_key(case.case_id, inputs)
        if not self.objects.exists(key):
            try:
                archive = self._prepare(case)
            except InvalidInput as fault:
                said = (fault.reason.value, fault.detail, fault.candidates)
                return [facts.case_refused(case.case_id, inputs, *said)]
            self.objects.put(key, archive.to_bytes())
        return [facts.crop_ready(case.case_id, inputs, key)]

    def _prepare(self, case: Case) -> CropArchive:
        instances = {i.sop_instance_uid: i for i in self.index.instances(case.study_instance_uid)}
        needs = needs_from_json(case.assessment)
        series = [self._read(need, instances) for need in needs]
        evidence = self._evidence(case, list(instances.values()), series)
        arterial, venous = decide_phases([one.uid for one in series], evidence)
        by_uid = {one.uid: one for one in series}
        ordered: tuple[tuple[Phase, _Series], ...] = (
            ("arterial", by_uid[arterial]),
            ("venous", by_uid[venous]),
        )
        found = [_finding(phase, one, _sentence(evidence, one.uid)) for phase, one in ordered]
        used = [uid for need in needs for uid in need.sop_instance_uids]
        accepted = [instances[uid].received_at for uid in used] + [
            one.roi_object.received_at for one in series
        ]
        return CropArchive(
            findings=(found[0], found[1]),
            crops_hu=np.stack([one.crop_hu for _, one in ordered]),
            images_hu=(_image(ordered[0][1], found[0]), _image(ordered[1][1], found[1])),
            accepted_at=f"{max(accepted):%Y%m%d%H%M%S}",
            remarks=tuple(dict.fromkeys(remark for one in series for remark in one.remarks)),
        )

    def _read(self, need: NeedSet, instances: Mapping[str, Instance]) -> _Series:
        """Contour, planes, pixels, crop and aorta of one need-set."""
        assert need.window is not None, "a case that is ready has its windows"
        roi_object = instances[need.roi.object_uid]
        roi = next(roi for roi in self.reader.rois([roi_object]) if need.roi.names(roi))
        first = instances[need.planes[0].sop_instance_uid]
        frame = first.card.get("frame_of_reference_uid") or None
        stack = build_stack(need.series_instance_uid, frame, need.planes)
        match = match_roi(roi, stack)
        hu = self.reader.hounsfield_stack(stack.planes, instances)
        return _Series(
            uid=need.series_instance_uid,
            roi=roi,
            roi_object=roi_object,
            match=match,
            stack=stack,
            hu=hu,
            window=need.window,
            crop_hu=crop(hu, stack, need.window),
            aorta_hu=aorta_hounsfield(hu, stack),
            remarks=(*need.remarks, *match.warnings, *roi.warnings),
            description=str(first.card.get("series_description") or ""),
        )

    def _evidence(
        self, case: Case, instances: Sequence[Instance], series: Sequence[_Series]
    ) -> tuple[PhaseEvidence, ...]:
        """All that speaks for a phase: operator, timing, the aorta in the pixels, descriptions."""
        uids = [one.uid for one in series]
        operator = case.assessment["phases"]
        said = header_evidence(series_headers(instances, uids), operator, description_rules(self.settings))
        aortas = [(one.uid, one.aorta_hu) for one in series]
        return said + hounsfield_evidence(aortas[0], aortas[1])


def description_rules(settings: PreprocessSettings) -> DescriptionRules:
    """The installer's expressions, or the built-in ones."""
    built_in = DescriptionRules()
    return DescriptionRules(
        settings.arterial_description or built_in.arterial, settings.venous_description or built_in.venous
    )


def _finding(phase: Phase, series: _Series, evidence: str) -> PhaseFinding:
    largest = largest_of(series.match.sections)
    plane = next(
        plane
        for plane in series.stack.planes
        if (plane.sop_instance_uid, plane.frame) == (largest.sop_instance_uid, largest.frame)
    )
    return PhaseFinding(
        phase=phase,
        series_instance_uid=series.uid,
        series_description=series.description,
        evidence=evidence,
        roi=RoiReference(
            kind=series.roi.kind,
            sop_instance_uid=series.roi_object.sop_instance_uid,
            sop_class_uid=series.roi_object.sop_class_uid,
            series_instance_uid=series.roi_object.series_instance_uid,
            number=series.roi.number,
            name=series.roi.name,
        ),
        plane=plane,
        # image relative coordinates begin at the corner of the first pixel, not at its centre (PS3.3 C.18.6.1.2)
        outlines_px=tuple(pixel_from_lps(plane, outline) + 0.5 for outline in largest.outlines),
        slice_uids=_nearest_images(series.stack, series.window),
        largest_area_mm2=largest.area_mm2,
        longest_diameter_mm=longest_diameter_mm(series.roi),
        volume_mm3=series.match.volume_mm3,
        remarks=(*series.match.warnings, *series.roi.warnings),
    )


def _nearest_images(stack: Stack, window: CropWindow) -> tuple[str, ...]:
    """Source images nearest to the three 1 mm slices, ascending, without repeats."""
    x, y, _ = window.centre_mm
    offsets = np.array([np.dot(stack.normal, (x, y, z)) for z in window.z_mm])
    nearest = np.abs(np.array(stack.offsets_mm)[None, :] - offsets[:, None]).argmin(axis=1)
    return tuple(dict.fromkeys(stack.planes[index].sop_instance_uid for index in sorted(nearest)))


def _image(series: _Series, finding: PhaseFinding) -> NDArray[np.float32]:
    """(rows, columns) of the image with the largest cross-section."""
    wanted = (finding.plane.sop_instance_uid, finding.plane.frame)
    position = [(plane.sop_instance_uid, plane.frame) for plane in series.stack.planes].index(wanted)
    return series.hu[position]


def _sentence(evidence: Sequence[PhaseEvidence], series_uid: str) -> str:
    said = [item.detail for item in evidence if item.series_instance_uid == series_uid and item.phase]
    return "; ".join(said) or "the other series is known, so this one is the other phase"
