"""A study among files, judged as the node would judge it: need-sets, phases with their evidence, or the refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apps.config import NodeConfig
from apps.dicom_files import Pile, read_dicom
from prognode.dicom.pixels import hounsfield
from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.geometry import ImagePlane, build_stack
from prognode.domain.need_set import NeedSet
from prognode.domain.phase import (
    DEFAULT_DESCRIPTIONS,
    DescriptionRules,
    PhaseEvidence,
    decide_phases,
    header_evidence,
    hounsfield_evidence,
)
from prognode.domain.readiness import Assessment, Choices, Rules, SeriesView, State, assess
from prognode.errors import InvalidInput
from prognode.ports import Instance
from prognode.runtime.phases import series_headers
from prognode.runtime.studies import is_roi_object, series_views
from services.preprocess.handler import description_rules
from services.receiver.assembly import rules_of

BEST_FIRST = (State.READY, State.WAITING, State.NOT_EVALUABLE)


@dataclass(frozen=True)
class JudgedStudy:
    """A study as the node would see it, down to the phases."""

    study_uid: str
    instances: tuple[Instance, ...]
    views: tuple[SeriesView, ...]
    found: Assessment
    evidence: tuple[PhaseEvidence, ...]
    phases: Mapping[str, str] = field(default_factory=dict)
    conflict: InvalidInput | None = None

    @cached_property
    def images(self) -> Counter[str]:
        """Objects by series."""
        return Counter(instance.series_instance_uid for instance in self.instances)

    @cached_property
    def has_contours(self) -> bool:
        """Whether the node would open a case for the study."""
        return any(is_roi_object(instance) for instance in self.instances)

    @cached_property
    def state(self) -> State:
        """After the phases were asked for, too."""
        return State.NOT_EVALUABLE if self.conflict else self.found.state


def roi_rules(config: NodeConfig | None) -> Rules:
    """Which ROI is the tumour: the configured rules, or the built-in ones where there is no configuration."""
    return rules_of(config.assembly) if config else Rules()


def phase_descriptions(config: NodeConfig | None) -> DescriptionRules:
    """How series descriptions name phases: as configured, or the built-in way where there is no configuration."""
    return description_rules(config.preprocess) if config else DEFAULT_DESCRIPTIONS


def judge_studies(pile: Pile, config: NodeConfig | None) -> list[JudgedStudy]:
    """Every study, the one that the case is about first: with contours before without, the readiest before others."""
    by_study: dict[str, list[Instance]] = {}
    for instance in pile.instances:
        by_study.setdefault(instance.study_instance_uid, []).append(instance)
    judged = [_judge(uid, members, pile, config) for uid, members in sorted(by_study.items())]
    return sorted(judged, key=lambda one: (not one.has_contours, BEST_FIRST.index(one.state)))


def _judge(
    study_uid: str, instances: Sequence[Instance], pile: Pile, config: NodeConfig | None
) -> JudgedStudy:
    views = tuple(series_views(instances))
    rois = [roi for roi in pile.rois if pile.study_of(roi) == study_uid]
    found = assess(views, rois, roi_rules(config), Choices(), quiet=True, fetch_exhausted=True)
    ready = found.state is State.READY
    uids = (
        [need.series_instance_uid for need in found.needs]
        if ready
        else [v.series_instance_uid for v in views]
    )
    evidence = header_evidence(series_headers(instances, uids), None, phase_descriptions(config))
    judged = JudgedStudy(study_uid, tuple(instances), views, found, evidence)
    if ready:
        return _with_phases(judged, uids, pile)
    return replace(judged, phases={uid: phase for uid in uids if (phase := _agreed(evidence, uid))})


def _with_phases(judged: JudgedStudy, pair: Sequence[str], pile: Pile) -> JudgedStudy:
    """Decide the phases of a study that is ready, as preprocess would; the refusal if it would refuse."""
    evidence = judged.evidence
    try:
        first, second = (_aorta(pile, need) for need in judged.found.needs)
        evidence += hounsfield_evidence(first, second)
        arterial, venous = decide_phases(pair, evidence)
    except InvalidInput as fault:
        return replace(judged, evidence=evidence, conflict=fault)
    return replace(judged, evidence=evidence, phases={arterial: "arterial", venous: "venous"})


def _agreed(evidence: Sequence[PhaseEvidence], series_uid: str) -> str | None:
    said = {item.phase for item in evidence if item.series_instance_uid == series_uid and item.phase}
    return said.pop() if len(said) == 1 else None


def _aorta(pile: Pile, need: NeedSet) -> tuple[str, float | None]:
    stack = build_stack("", None, need.planes)
    return need.series_instance_uid, aorta_hounsfield(read_planes(pile, stack.planes), stack)


def read_planes(pile: Pile, planes: Sequence[ImagePlane]) -> NDArray[np.float32]:
    """(n, rows, columns) Hounsfield units of planes, read from their files."""
    return np.stack(
        [hounsfield(read_dicom(pile.paths[p.sop_instance_uid], pixels=True), p.frame) for p in planes]
    )
