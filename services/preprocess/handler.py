"""The need-set in, both crops and the contours' measures out. Reads exactly the images that the case needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.crop import CropWindow
from prognode.domain.geometry import Stack, pixel_from_lps
from prognode.domain.need_set import NeedSet
from prognode.domain.phase import (
    DescriptionRules,
    PhaseEvidence,
    decide_phases,
    header_evidence,
    hounsfield_evidence,
)
from prognode.domain.phase_crop import PhaseCrop, cut_phase
from prognode.domain.prognosis import Phase
from prognode.domain.readiness import needs_from_json
from prognode.domain.report import PhaseFinding, RoiReference
from prognode.domain.roi import largest_of, longest_diameter_mm
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

    cut: PhaseCrop
    roi_object: Instance
    aorta_hu: float | None
    description: str

    @property
    def uid(self) -> str:
        return self.cut.need.series_instance_uid


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
            crops_hu=np.stack([one.cut.crop_hu for _, one in ordered]),
            images_hu=(_image(ordered[0][1], found[0]), _image(ordered[1][1], found[1])),
            accepted_at=f"{max(accepted):%Y%m%d%H%M%S}",
            remarks=tuple(dict.fromkeys(remark for one in series for remark in one.cut.remarks)),
        )

    def _read(self, need: NeedSet, instances: Mapping[str, Instance]) -> _Series:
        """Contour, planes, pixels, crop and aorta of one need-set."""
        roi_object = instances[need.roi.object_uid]
        roi = next(roi for roi in self.reader.rois([roi_object]) if need.roi.names(roi))
        card = instances[need.planes[0].sop_instance_uid].card
        frame = card.get("frame_of_reference_uid") or None
        cut = cut_phase(need, roi, frame, lambda planes: self.reader.hounsfield_stack(planes, instances))
        return _Series(
            cut=cut,
            roi_object=roi_object,
            aorta_hu=aorta_hounsfield(cut.hu, cut.stack),
            description=str(card.get("series_description") or ""),
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
    cut = series.cut
    largest = largest_of(cut.match.sections)
    plane = next(
        plane
        for plane in cut.stack.planes
        if (plane.sop_instance_uid, plane.frame) == (largest.sop_instance_uid, largest.frame)
    )
    return PhaseFinding(
        phase=phase,
        series_instance_uid=series.uid,
        series_description=series.description,
        evidence=evidence,
        roi=RoiReference(
            kind=cut.roi.kind,
            sop_instance_uid=series.roi_object.sop_instance_uid,
            sop_class_uid=series.roi_object.sop_class_uid,
            series_instance_uid=series.roi_object.series_instance_uid,
            number=cut.roi.number,
            name=cut.roi.name,
        ),
        plane=plane,
        # image relative coordinates begin at the corner of the first pixel, not at its centre (PS3.3 C.18.6.1.2)
        outlines_px=tuple(pixel_from_lps(plane, outline) + 0.5 for outline in largest.outlines),
        slice_uids=_nearest_images(cut.stack, cut.window),
        largest_area_mm2=largest.area_mm2,
        longest_diameter_mm=longest_diameter_mm(cut.roi),
        volume_mm3=cut.volume_mm3,
        remarks=(*cut.match.warnings, *cut.roi.warnings),
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
    position = [(plane.sop_instance_uid, plane.frame) for plane in series.cut.stack.planes].index(wanted)
    return series.cut.hu[position]


def _sentence(evidence: Sequence[PhaseEvidence], series_uid: str) -> str:
    said = [item.detail for item in evidence if item.series_instance_uid == series_uid and item.phase]
    return "; ".join(said) or "the other series is known, so this one is the other phase"
