"""Crops and covariates in, structured report out; then, once the report is in the PACS, the figure.

A report has a deterministic identity. When the same inputs come again, the bytes that were stored the first time go
out again; when an input has changed, a new report supersedes the old one (Predecessor Documents).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog
from numpy.typing import NDArray
from pydicom import Dataset

from prognode import metrics
from prognode.dicom.dataset_encoding import encode
from prognode.dicom.secondary_capture import build_secondary_capture
from prognode.dicom.sr import SR_CLASSES, sr_variants
from prognode.domain.covariates import covariates
from prognode.domain.geometry import ImagePlane
from prognode.domain.identity import digest, figure_uid, report_uid
from prognode.domain.prognosis import Covariates, Phase, Prognosis
from prognode.domain.prognosis import prognose as prognose_with
from prognode.domain.recipe import Recipe
from prognode.domain.report import RESEARCH_NOTICE, PhaseFinding, Report
from prognode.domain.report_json import report_from_json, report_to_json
from prognode.errors import InvalidInput, Reason
from prognode.events import facts
from prognode.ports import (
    JSON,
    Case,
    CaseState,
    ClinicalSource,
    Event,
    Extractor,
    Index,
    Instance,
    ObjectStore,
)
from prognode.runtime import tracing
from prognode.runtime.arrivals import since_last
from prognode.runtime.crop_archive import CropArchive
from prognode.runtime.keys import crop_key, features_key, report_key
from prognode.runtime.refusals import Refusal, refusal_report
from prognode.runtime.stored import stored, stored_crops, stored_features
from prognode.runtime.studies import StudyReader
from prognode.runtime.worker import Handler

log = structlog.get_logger()

DrawFigure = Callable[[Report, Mapping[Phase, NDArray[np.float32]]], NDArray[np.uint8]]
"""Draws a report as an RGB page, (height, width, 3)."""


@dataclass(frozen=True)
class Scoring:
    """The scoring service's handlers over their ports."""

    index: Index
    objects: ObjectStore
    extractor: Extractor
    recipe: Recipe
    clinical: ClinicalSource
    draw: DrawFigure | None

    group = "scoring"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What this service consumes."""
        return {
            facts.CROP_READY: self.on_crop_ready,
            facts.CASE_REFUSED: self.on_case_refused,
            facts.CLINICAL_UPDATED: self.on_clinical_updated,
        }

    # ------------------------------------------------------------ events

    def on_crop_ready(self, event: Event) -> Sequence[Event]:
        """Score the crops and publish the report."""
        case = self._current(event)
        return [] if case is None else self._score(case, str(event.payload["crop_key"]))

    def on_clinical_updated(self, event: Event) -> Sequence[Event]:
        """Score the same crops again with the covariates as they are now."""
        case = self.index.case(event.key)
        if (
            case is None
            or "crop_key" not in case.outcome
            or case.outcome["input_digest"] != case.input_digest
        ):
            return []  # not scored yet: the covariates are read when it is
        return self._score(case, str(case.outcome["crop_key"]))

    def on_case_refused(self, event: Event) -> Sequence[Event]:
        """Publish a report that says why the case is not evaluable."""
        case = self._current(event)
        if case is None:
            return []
        payload = event.payload
        refusal = Refusal(
            Reason(payload["reason"]), str(payload["detail"]), tuple(payload.get("candidates", ()))
        )
        return self._refuse(case, refusal)

    def _current(self, event: Event) -> Case | None:
        """The case, unless its inputs have changed since the event."""
        case = self.index.case(event.key)
        return case if case and case.input_digest == event.payload["input_digest"] else None

    # ------------------------------------------------------------ scoring

    def _score(self, case: Case, crops: str) -> Sequence[Event]:
        archive = stored_crops(self.objects, crops)
        instances = {i.sop_instance_uid: i for i in self.index.instances(case.study_instance_uid)}
        sources = self._sources(instances, archive.findings)
        clinical = self._clinical(case, next(iter(sources.values())))
        measured = max(finding.longest_diameter_mm for finding in archive.findings)
        known = covariates(clinical, measured)
        features = self._features(crops, archive)
        try:
            prognosis = prognose_with(self.recipe, features[0], features[1], known)
        except InvalidInput as fault:
            refusal = Refusal(fault.reason, fault.detail, fault.candidates, _covariates_digest(known))
            return self._refuse(case, refusal, {"crop_key": crops})
        report = self._report(case, archive, prognosis, clinical, sources)
        state = CaseState.REPORTED if report.status == "final" else CaseState.PRELIMINARY
        return self._publish(case, report, sources, state, {"crop_key": crops})

    def _features(self, crops: str, archive: CropArchive) -> NDArray[np.float32]:
        """(2, 2048), kept beside the crops: new covariates need no second pass through the network."""
        key = features_key(crops, self.extractor.sha256)
        if self.objects.exists(key):
            return stored_features(self.objects, key)
        with metrics.inference_seconds.time(), tracing.span("inference"):
            features = self.extractor.features(archive.crops_hu)
        buffer = io.BytesIO()
        np.save(buffer, features)
        self.objects.put(key, buffer.getvalue())
        return features

    def _clinical(self, case: Case, header: Dataset) -> JSON:
        """What a person has set wins over what the file says."""
        listed = self.clinical.lookup(
            str(header.get("PatientID") or ""), str(header.get("AccessionNumber") or "")
        )
        return {**listed, **self.index.clinical(case.case_id)}

    def _report(
        self,
        case: Case,
        archive: CropArchive,
        prognosis: Prognosis,
        clinical: JSON,
        sources: Mapping[str, Dataset],
    ) -> Report:
        return Report(
            case_id=case.case_id,
            status="preliminary" if prognosis.missing else "final",
            notices=notices(self.recipe, sources.values()),
            study_instance_uid=case.study_instance_uid,
            findings=archive.findings,
            prognosis=prognosis,
            recipe=self.recipe.identity,
            input_digest=str(case.input_digest),
            covariates_digest=_covariates_digest(prognosis.covariates),
            content_datetime=max(archive.accepted_at, str(clinical.get("set_at", ""))),
            remarks=archive.remarks,
        )

    def _sources(
        self, instances: Mapping[str, Instance], findings: Sequence[PhaseFinding]
    ) -> dict[str, Dataset]:
        wanted = sorted({uid for f in findings for uid in (*f.slice_uids, f.plane.sop_instance_uid)})
        headers = StudyReader(self.objects).headers([instances[uid] for uid in wanted])
        return dict(zip(wanted, headers, strict=True))

    # ------------------------------------------------------------ refusal

    def _refuse(self, case: Case, refusal: Refusal, more: JSON | None = None) -> Sequence[Event]:
        """``more``: what the outcome keeps, so that other covariates can still give a result."""
        instances = self.index.instances(case.study_instance_uid)
        drafted = refusal_report(case, refusal, instances, self.recipe.identity, (RESEARCH_NOTICE,))
        if drafted is None:
            # no image to pin the statement to: it goes out when one comes
            log.warning("refused-without-image", case_id=case.case_id, reason=refusal.reason.value)
            self.index.save_outcome(
                case.case_id,
                str(case.input_digest),
                CaseState.NOT_EVALUABLE,
                {**case.outcome, **refusal.to_json()},
            )
            return []
        report, anchor = drafted
        header = StudyReader(self.objects).header(anchor)
        report = replace(report, notices=notices(self.recipe, [header]))
        sources = {anchor.sop_instance_uid: header}
        outcome = {**refusal.to_json(), **(more or {})}
        return self._publish(case, report, sources, CaseState.NOT_EVALUABLE, outcome)

    # ------------------------------------------------------------ publishing

    def _publish(
        self, case: Case, report: Report, sources: Mapping[str, Dataset], state: CaseState, more: JSON
    ) -> Sequence[Event]:
        report = _renewed(case, report)
        uid = report_uid(report)
        json_key = report_key(case.case_id, uid, "json")
        if not self.objects.exists(json_key):
            self._store(
                case.case_id, replace(report, predecessor_uid=_predecessor(case, uid)), sources, json_key
            )
        kept = json.loads(stored(self.objects, json_key))
        keys, before = kept["object_keys"], kept["report"]["predecessor_uid"]
        outcome = {
            "status": report.status,
            "input_digest": case.input_digest,
            "sr": {
                "sop_instance_uid": uid,
                "json_key": json_key,
                "object_keys": keys,
                "predecessor_uid": before,
            },
            "superseded": _superseded(case, uid),
            **more,
        }
        if not self.index.save_outcome(case.case_id, str(case.input_digest), state, outcome):
            return []
        metrics.case_seconds.labels(state.value).observe(since_last(self.index, case))
        return [facts.report_ready(case.case_id, str(case.input_digest), "sr", uid, keys)]

    def _store(self, case_id: str, report: Report, sources: Mapping[str, Dataset], json_key: str) -> None:
        """The JSON goes last: where it is, the encodings are."""
        keys = []
        for sop_class, data in zip(SR_CLASSES, sr_variants(report, sources), strict=True):
            key = report_key(case_id, report_uid(report, sop_class), "dcm")
            self.objects.put(key, data)
            keys.append(key)
        body = {"report": report_to_json(report), "object_keys": keys}
        self.objects.put(json_key, json.dumps(body, sort_keys=True, indent=1).encode())


@dataclass(frozen=True)
class Illustration:
    """Draws the figure once its report is in the PACS: the report never waits for a picture."""

    scoring: Scoring

    group = "illustration"

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What this group consumes."""
        return {facts.REPORT_DELIVERED: self.on_report_delivered}

    def on_report_delivered(self, event: Event) -> Sequence[Event]:
        """Draw, store and publish the figure that the report names."""
        if event.payload["kind"] != "sr" or self.scoring.draw is None:
            return []
        objects = self.scoring.objects
        key = report_key(event.key, str(event.payload["sop_instance_uid"]), "json")
        body = json.loads(stored(objects, key))
        report = report_from_json(body["report"])
        if report.status == "not-evaluable":
            return []
        uid = figure_uid(report)
        key = report_key(event.key, uid, "dcm")
        if not objects.exists(key):
            objects.put(key, self._draw(report))
        return [facts.report_ready(event.key, report.input_digest, "figure", uid, [key])]

    def _draw(self, report: Report) -> bytes:
        scoring = self.scoring
        assert scoring.draw is not None
        archive = stored_crops(scoring.objects, crop_key(report.case_id, report.input_digest))
        images: dict[Phase, NDArray[np.float32]] = {
            "arterial": archive.images_hu[0],
            "venous": archive.images_hu[1],
        }
        plane: ImagePlane = archive.findings[1].plane
        source = scoring.index.instance(plane.sop_instance_uid)
        assert source is not None, "an instance that was scored is never removed"
        header = StudyReader(scoring.objects).header(source)
        return encode(build_secondary_capture(report, header, scoring.draw(report, images)))


def notices(recipe: Recipe, headers: Iterable[Dataset]) -> tuple[str, ...]:
    """What every output says of itself: research only, the recipe's own notices, synthetic data."""
    said = [RESEARCH_NOTICE, *recipe.notices]
    if any(is_synthetic(header) for header in headers):
        said.append("Synthetic data: no real patient.")
    return tuple(dict.fromkeys(said))


def is_synthetic(header: Dataset) -> bool:
    """Whether an image's own header says that it was made up."""
    texts = (header.get("ImageComments"), header.get("SeriesDescription"), header.get("StudyDescription"))
    return any("synthetic" in str(text).lower() for text in texts if text)


def _covariates_digest(known: Covariates) -> str:
    return digest(
        str(known.ki67_percent),
        str(known.m_stage),
        str(known.longest_diameter_mm),
        known.longest_diameter_origin,
    )


def _superseded(case: Case, uid: str) -> list[str]:
    """Reports of the case that others have superseded, now that its report is ``uid``."""
    earlier: list[str] = case.outcome.get("superseded", [])
    current = case.outcome.get("sr", {}).get("sop_instance_uid", uid)
    return earlier if current == uid else [*earlier, current]


def _renewed(case: Case, report: Report) -> Report:
    """A report that was superseded and is true again is a new document: it must be the latest one in the PACS.

    Its identity then also holds what it supersedes; said twice, it is the same document again.
    """
    if report_uid(report) not in case.outcome.get("superseded", []):
        return report
    sr = case.outcome["sr"]
    again = _superseding(report, str(sr["predecessor_uid"]))
    if report_uid(again) == sr["sop_instance_uid"]:
        return again
    return _superseding(report, sr["sop_instance_uid"])


def _superseding(report: Report, predecessor_uid: str) -> Report:
    return replace(report, covariates_digest=digest(report.covariates_digest, predecessor_uid))


def _predecessor(case: Case, uid: str) -> str | None:
    """What the report ``uid`` supersedes: the case's report, or if it is that very report, what that one superseded."""
    sr = case.outcome.get("sr")
    if sr is None:
        return None
    named = sr["predecessor_uid"] if sr["sop_instance_uid"] == uid else sr["sop_instance_uid"]
    return str(named) if named else None
