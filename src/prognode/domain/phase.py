"""Which series is arterial and which is venous: by evidence, in a fixed order, and never by guessing.

The two signatures of the paper belong to two contrast phases. Swapped series would give a plausible wrong number, so
every kind of evidence that speaks must agree; only a person overrules. The kinds, in the order in which they are named:
operator, contrast timing, Hounsfield units of the aorta, series description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from prognode.domain.aorta import aorta_hounsfield
from prognode.domain.prognosis import Phase
from prognode.errors import InvalidInput, Reason

EvidenceKind = Literal["operator", "timing", "hounsfield", "description"]
KINDS: tuple[EvidenceKind, ...] = ("operator", "timing", "hounsfield", "description")

ARTERIAL_DELAY_S = (15.0, 50.0)
VENOUS_DELAY_S = (55.0, 110.0)
"""Delay from the start of the injection; between and beyond, the delay says nothing."""
PHASES_APART_S = (10.0, 90.0)
"""How far apart an arterial and a venous acquisition of one injection lie."""
ARTERIAL_AORTA_HU = 180.0
CLEARLY_HIGHER = 1.15


@dataclass(frozen=True, slots=True)
class PhaseEvidence:
    """One statement about one series."""

    series_instance_uid: str
    kind: EvidenceKind
    phase: Phase | None
    """None: this kind of evidence was looked for and says nothing."""
    detail: str
    """The statement as part of a sentence, without patient data."""


@dataclass(frozen=True, slots=True)
class ContrastTiming:
    """When a series was acquired and when its contrast was injected, in seconds on one clock; None is not told."""

    acquired_at_s: float | None = None
    injected_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class DescriptionRules:
    """Regular expressions searched in the series description, without regard to case.

    A description that matches ``other``, or both phases, is no evidence.
    """

    arterial: str = (
        r"(?<![a-z])(art(?![a-z])|arter|a[ _-]?phase|early|fr[üu]h|precoce|hap(?![a-z])|(?<!v)cap(?![a-z]))"
        r"|动脉|動脈|артер"
    )
    venous: str = r"(?<![a-z])(ven(?![a-z])|v[eé]n[oö]|veine|portal|pv(?![a-z])|pvp|v[ _-]?phase|porto)|静脉|門脈|门脉|静脈|вен[оа]|порт"
    other: str = (
        r"delay|late(?![a-z])(?![ _-]*art)|sp[äa]t|tardi|excret|equilib|native?(?![a-z])|nativ|non[ _-]?contrast|without|unenh|plain"
        r"|pre[ _-]?contrast|scout|locali[sz]er|topogram|bolus|monitor|平扫|延迟|単純|натив"
    )


DEFAULT_DESCRIPTIONS = DescriptionRules()


@dataclass(frozen=True, slots=True)
class SeriesHeader:
    """What a series' headers tell of its phase."""

    series_instance_uid: str
    description: str = ""
    timing: ContrastTiming | None = None


# ---------------------------------------------------------------- evidence from headers and choices


def operator_evidence(phases: Mapping[str, Phase]) -> tuple[PhaseEvidence, ...]:
    """A person's choice, by series."""
    return tuple(
        PhaseEvidence(uid, "operator", phase, "chosen by the operator") for uid, phase in phases.items()
    )


def description_evidence(
    headers: Iterable[SeriesHeader], rules: DescriptionRules = DEFAULT_DESCRIPTIONS
) -> tuple[PhaseEvidence, ...]:
    """What the series descriptions say; series whose description says nothing are left out."""
    found = ((header.series_instance_uid, described_phase(header.description, rules)) for header in headers)
    return tuple(
        PhaseEvidence(uid, "description", phase, f"the series description says {phase}")
        for uid, phase in found
        if phase
    )


def described_phase(description: str, rules: DescriptionRules = DEFAULT_DESCRIPTIONS) -> Phase | None:
    """The phase that a series description names, if it names exactly one."""
    arterial, venous, other = (
        bool(pattern) and re.search(pattern, description, re.IGNORECASE) is not None
        for pattern in (rules.arterial, rules.venous, rules.other)
    )
    if other or arterial == venous:
        return None
    return "arterial" if arterial else "venous"


def timing_evidence(headers: Sequence[SeriesHeader]) -> tuple[PhaseEvidence, ...]:
    """Contrast timing: delays after the injection, and for two series the order in which they were acquired."""
    delays = tuple(evidence for header in headers if (evidence := _delay(header)) is not None)
    return delays + (_order(headers[0], headers[1]) if len(headers) == 2 else ())


def _delay(header: SeriesHeader) -> PhaseEvidence | None:
    timing = header.timing
    if timing is None or timing.acquired_at_s is None or timing.injected_at_s is None:
        return None
    delay = timing.acquired_at_s - timing.injected_at_s
    for phase, (low, high) in (("arterial", ARTERIAL_DELAY_S), ("venous", VENOUS_DELAY_S)):
        if low <= delay <= high:
            detail = f"acquired {delay:.0f} s after the start of the injection"
            return PhaseEvidence(header.series_instance_uid, "timing", _phase(phase), detail)
    return None


def _phase(word: str) -> Phase:
    return "arterial" if word == "arterial" else "venous"


def _order(first: SeriesHeader, second: SeriesHeader) -> tuple[PhaseEvidence, ...]:
    if first.timing is None or second.timing is None:
        return ()
    if first.timing.acquired_at_s is None or second.timing.acquired_at_s is None:
        return ()
    apart = second.timing.acquired_at_s - first.timing.acquired_at_s
    if not PHASES_APART_S[0] <= abs(apart) <= PHASES_APART_S[1]:
        return ()
    earlier, later = (first, second) if apart > 0 else (second, first)
    return (
        PhaseEvidence(
            earlier.series_instance_uid,
            "timing",
            "arterial",
            f"acquired {abs(apart):.0f} s before the other series",
        ),
        PhaseEvidence(
            later.series_instance_uid,
            "timing",
            "venous",
            f"acquired {abs(apart):.0f} s after the other series",
        ),
    )


def header_evidence(
    headers: Sequence[SeriesHeader],
    operator: Mapping[str, Phase] | None = None,
    rules: DescriptionRules = DEFAULT_DESCRIPTIONS,
) -> tuple[PhaseEvidence, ...]:
    """All that can be said without pixels, in the order of precedence."""
    uids = {header.series_instance_uid for header in headers}
    chosen = {uid: phase for uid, phase in (operator or {}).items() if uid in uids}
    return operator_evidence(chosen) + timing_evidence(headers) + description_evidence(headers, rules)


# ---------------------------------------------------------------- evidence from pixels


def hounsfield_evidence(
    first: tuple[str, float | None], second: tuple[str, float | None]
) -> tuple[PhaseEvidence, ...]:
    """Compare the aorta of two series, given as (series UID, aortic HU or None).

    The series whose aorta is clearly brighter (1.15 times, and over 180 HU) is arterial, the other venous. Empty when
    an aorta was not found or the difference is not clear.
    """
    (low_uid, low), (high_uid, high) = sorted((first, second), key=lambda pair: pair[1] or 0.0)
    if low is None or high is None or low <= 0:
        return ()
    if high < ARTERIAL_AORTA_HU or high < CLEARLY_HIGHER * low:
        return ()
    return (
        PhaseEvidence(high_uid, "hounsfield", "arterial", f"aorta {high:.0f} HU against {low:.0f} HU"),
        PhaseEvidence(low_uid, "hounsfield", "venous", f"aorta {low:.0f} HU against {high:.0f} HU"),
    )


# ---------------------------------------------------------------- decision


@dataclass(frozen=True, slots=True)
class _Claims:
    """What each kind of evidence says, by series."""

    by_kind: Mapping[EvidenceKind, Mapping[str, frozenset[Phase]]] = field(default_factory=dict)

    @classmethod
    def of(cls, series_uids: Sequence[str], evidence: Iterable[PhaseEvidence]) -> _Claims:
        claims: dict[EvidenceKind, dict[str, frozenset[Phase]]] = {}
        for item in evidence:
            if item.phase is not None and item.series_instance_uid in series_uids:
                of_kind = claims.setdefault(item.kind, {})
                before = of_kind.get(item.series_instance_uid, frozenset())
                of_kind[item.series_instance_uid] = before | {item.phase}
        return cls(claims)


def decide_phases(series_uids: Sequence[str], evidence: Iterable[PhaseEvidence]) -> tuple[str, str]:
    """(arterial series UID, venous series UID) of two series; of more, exactly two must be told apart as such.

    With two series, one that is known makes the other the other phase. The operator's choice wins over all else.
    Raises InvalidInput: PHASE_SINGLE (one series), PHASE_CONFLICT (kinds of evidence contradict each other, or one
    phase is claimed twice), PHASE_UNKNOWN (nothing tells).
    """
    uids = tuple(dict.fromkeys(series_uids))
    if len(uids) < 2:
        raise InvalidInput(Reason.PHASE_SINGLE, "there is only one series to be a phase")
    items = tuple(evidence)
    claims = _Claims.of(uids, items)
    chosen = _completed(claims.by_kind.get("operator", {}), uids)
    if _is_pair(chosen):
        return _pair(chosen)
    if _twice(chosen):
        raise InvalidInput(Reason.PHASE_CONFLICT, "the operator chose the same phase for two series")
    merged: dict[str, frozenset[Phase]] = {}
    for kind in KINDS:
        for uid, phases in _completed(claims.by_kind.get(kind, {}), uids).items():
            if not (uid in chosen and kind != "operator"):
                merged[uid] = merged.get(uid, frozenset()) | phases
    _refuse_conflicts(merged, items, uids)
    if not _is_pair(merged):
        raise InvalidInput(Reason.PHASE_UNKNOWN, _unknown_sentence(items, uids))
    return _pair(merged)


def _completed(claims: Mapping[str, frozenset[Phase]], uids: Sequence[str]) -> dict[str, frozenset[Phase]]:
    """With two series, what is said of one says the opposite of the other."""
    known = dict(claims)
    if len(uids) == 2:
        for uid, other in (uids, uids[::-1]):
            if uid not in known and other in known:
                known[uid] = frozenset(_opposite(phase) for phase in known[other])
    return known


def _opposite(phase: Phase) -> Phase:
    return "venous" if phase == "arterial" else "arterial"


def _twice(claims: Mapping[str, frozenset[Phase]]) -> bool:
    return any(a & b for a, b in combinations(claims.values(), 2))


def _is_pair(claims: Mapping[str, frozenset[Phase]]) -> bool:
    return sorted(tuple(phases) for phases in claims.values()) == [("arterial",), ("venous",)]


def _pair(claims: Mapping[str, frozenset[Phase]]) -> tuple[str, str]:
    by_phase = {phase: uid for uid, phases in claims.items() for phase in phases}
    return by_phase["arterial"], by_phase["venous"]


def _refuse_conflicts(
    merged: Mapping[str, frozenset[Phase]], evidence: Sequence[PhaseEvidence], uids: Sequence[str]
) -> None:
    if any(len(phases) > 1 for phases in merged.values()) or _twice(merged):
        raise InvalidInput(
            Reason.PHASE_CONFLICT, f"evidence for the phases contradicts itself: {_spoken(evidence, uids)}"
        )


def _unknown_sentence(evidence: Sequence[PhaseEvidence], uids: Sequence[str]) -> str:
    spoken = _spoken(evidence, uids)
    told = f"only this is known: {spoken}" if spoken else "timing, aorta and series descriptions say nothing"
    return f"arterial and venous phase cannot be told apart; {told}"


def _spoken(evidence: Sequence[PhaseEvidence], uids: Sequence[str]) -> str:
    """Statements by kind; series are numbered, because descriptions and UIDs are the hospital's."""
    return "; ".join(
        f"{item.kind}: series {uids.index(item.series_instance_uid) + 1} {item.phase} ({item.detail})"
        for kind in KINDS
        for item in evidence
        if item.kind == kind and item.phase is not None and item.series_instance_uid in uids
    )


__all__ = [
    "ContrastTiming",
    "DescriptionRules",
    "PhaseEvidence",
    "SeriesHeader",
    "aorta_hounsfield",
    "decide_phases",
    "described_phase",
    "description_evidence",
    "header_evidence",
    "hounsfield_evidence",
    "operator_evidence",
    "timing_evidence",
]
