"""Reads a report's SR back: does it say what the report says, and will the viewers open it?

The demonstration ends with :func:`says_same`, so that what arrived in the PACS is proven to be what was meant.
:func:`viewer_problems` holds the rules of the OHIF viewer that no validator knows.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from pydicom.dataset import Dataset

from prognode.dicom import codes
from prognode.dicom.codes import Code

JSON = dict[str, Any]
RELATIVE_TOLERANCE = 1e-9

_RISKS = {code.value: name for name, code in codes.RISK.items()}
_STATUSES = {code.value: name for name, code in codes.STATUSES.items()}
_STAGES = {code.value: name for name, code in codes.M_STAGES.items()}


def says_same(sr: Dataset, report: JSON) -> list[str]:
    """Differences between an SR as read from a file and ``report_to_json``'s dict; empty when they agree.

    Compared are every number, the risk group, M stage, status, reason, notices, candidates and remarks, the flag of a
    preliminary report, and the SOP Instance UID where the SR is of the first class.
    """
    return [
        f"{what}: the report says {meant!r}, the SR says {said!r}"
        for what, meant, said in _pairs(sr, report)
        if not _equal(meant, said)
    ]


def _equal(meant: Any, said: Any) -> bool:
    if isinstance(meant, float | int) and isinstance(said, float | int):
        return math.isclose(meant, said, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return bool(meant == said)


def _pairs(sr: Dataset, report: JSON) -> Iterator[tuple[str, Any, Any]]:
    """(what, meant, said) for everything that both can say."""
    groups = _groups(sr)
    flag = "PRELIMINARY" if report["status"] == "preliminary" else "FINAL"
    yield "preliminary flag", flag, str(sr.get("PreliminaryFlag"))
    yield "study", report["study_instance_uid"], str(sr.get("StudyInstanceUID"))
    if str(sr.SOPClassUID) == "1.2.840.10008.5.1.4.1.1.88.34":
        yield "SOP Instance UID", report["sop_instance_uid"], str(sr.SOPInstanceUID)
    if not groups:
        yield "measurement groups", "at least one", "none"
        return
    yield from _categories(groups[0], report)
    yield from _words(groups, report)
    yield from _numbers(groups, report)


def _categories(lead: Dataset, report: JSON) -> Iterator[tuple[str, Any, Any]]:
    prognosis = report["prognosis"] or {}
    yield "status", report["status"], _STATUSES.get(_coded_value(lead, codes.STATUS))
    yield "reason", report["reason"] or "", _coded_value(lead, codes.NOT_EVALUABLE)
    yield "risk group", prognosis.get("risk_group"), _RISKS.get(_coded_value(lead, codes.RISK_GROUP))
    stage = prognosis.get("covariates", {}).get("m_stage")
    yield "M stage", stage, _STAGES.get(_coded_value(lead, codes.M_STAGE))


def _words(groups: list[Dataset], report: JSON) -> Iterator[tuple[str, Any, Any]]:
    said = {str(item.TextValue) for group in groups for item in _named(group, codes.COMMENT)}
    prognosis = report["prognosis"] or {}
    meant = [
        *report["notices"],
        *(f"Candidate: {candidate}" for candidate in report["candidates"]),
        *report["remarks"],
        *prognosis.get("remarks", ()),
        *(remark for finding in report["findings"] for remark in finding["remarks"] if prognosis),
    ]
    for sentence in meant:
        yield "sentence", sentence, sentence if sentence in said else None


def _numbers(groups: list[Dataset], report: JSON) -> Iterator[tuple[str, Any, Any]]:
    """Every number that one side has, by group and concept: one that is missing or too many differs from None."""
    meant = expected_numbers(report)
    if len(meant) != len(groups):
        yield "measurement groups", len(meant), len(groups)
        return
    for wanted, group in zip(meant, groups, strict=True):
        found = {_name(item): _measured(item) for item in _children(group) if item.ValueType == "NUM"}
        for name in sorted(wanted.keys() | found.keys()):
            yield name, wanted.get(name), found.get(name)


def expected_numbers(report: JSON) -> list[dict[str, float]]:
    """Per measurement group, venous first: code value of each number and the number, survival in percent."""
    prognosis = report["prognosis"]
    if prognosis is None:
        return [{}]
    findings = sorted(report["findings"], key=lambda finding: finding["phase"] != "venous")
    groups = [_phase_numbers(finding, prognosis) for finding in findings]
    groups[0].update(_patient_numbers(prognosis))
    return groups


def _phase_numbers(finding: JSON, prognosis: JSON) -> dict[str, float]:
    phase = finding["phase"]
    return {
        codes.SIGNATURE[phase].value: prognosis[f"signature_{phase}"],
        **_axis_numbers(prognosis, {f"signature_{phase}"}),
        codes.LONG_AXIS.value: finding["longest_diameter_mm"],
        codes.AREA.value: finding["largest_area_mm2"],
        codes.VOLUME.value: finding["volume_mm3"],
    }


def _axis_numbers(prognosis: JSON, names: Collection[str]) -> dict[str, float]:
    """Points of the nomogram's axes of these names."""
    return {
        codes.AXIS_POINTS[axis["name"]].value: axis["points"]
        for axis in prognosis["axes"]
        if axis["name"] in names
    }


def _patient_numbers(prognosis: JSON) -> dict[str, float]:
    covariates = prognosis["covariates"]
    numbers = {
        codes.TOTAL_POINTS.value: prognosis["total_points"],
        codes.LINEAR_PREDICTOR.value: prognosis["linear_predictor"],
        codes.CUTOFF.value: prognosis["cutoff"],
        codes.KI67.value: covariates["ki67_percent"],
        codes.MODEL_DIAMETER.value: covariates["longest_diameter_mm"],
        **{codes.overall_survival(months).value: 100 * p for months, p in prognosis["survival"]},
        **_axis_numbers(
            prognosis, codes.AXIS_POINTS.keys() - {f"signature_{phase}" for phase in codes.SIGNATURE}
        ),
    }
    return {name: value for name, value in numbers.items() if value is not None}


# ---------------------------------------------------------------- what the viewer needs


def viewer_problems(sr: Dataset) -> list[str]:
    """What would keep OHIF 3.12 from opening the SR or from showing its measurements; empty when nothing would."""
    root = _children(sr)
    problems = []
    if _name(sr) != codes.REPORT.value:
        problems.append("the title is not Imaging Measurement Report")
    libraries = [item for item in root if _name(item) == codes.IMAGE_LIBRARY.value]
    if not any(_named(library, codes.IMAGE_LIBRARY_GROUP) for library in libraries):
        problems.append("there is no Image Library with a group")
    if any("ConceptNameCodeSequence" not in item for item in _descendants(sr)):
        problems.append("a content item has no concept name")
    groups = _groups(sr)
    for place, group in enumerate(groups, start=1):
        problems.extend(f"group {place}: {problem}" for problem in _group_problems(group))
    tracked = [_tracking_uid(group) for group in groups]
    if len(set(tracked)) < len(tracked):
        problems.append("two groups have one Tracking Unique Identifier and would be merged")
    return problems


def _group_problems(group: Dataset) -> list[str]:
    items = _children(group)
    uidrefs = [item for item in items if item.ValueType == "UIDREF"]
    regions = [item for item in items if item.ValueType == "SCOORD"]
    checks = (
        (bool(_named(group, codes.TRACKING_IDENTIFIER)), "no Tracking Identifier"),
        (
            bool(uidrefs) and _name(uidrefs[0]) == codes.TRACKING_UID.value,
            "the Tracking Unique Identifier is not the first UIDREF",
        ),
        (bool(regions), "no SCOORD, which crashes the viewer"),
        (
            all(any(child.ValueType == "IMAGE" for child in _children(region)) for region in regions),
            "an SCOORD is not selected from an image",
        ),
        (
            all(_children(item) for item in items if item.ValueType == "NUM"),
            "a NUM has no child",
        ),
    )
    return [problem for fine, problem in checks if not fine]


# ---------------------------------------------------------------- reading the tree


def _children(item: Dataset) -> list[Dataset]:
    return list(item.get("ContentSequence") or [])


def _descendants(item: Dataset) -> Iterator[Dataset]:
    for child in _children(item):
        yield child
        yield from _descendants(child)


def _name(item: Dataset) -> str:
    """Code value of an item's concept name; empty if it has none."""
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def _named(item: Dataset, code: Code) -> list[Dataset]:
    return [child for child in _children(item) if _name(child) == code.value]


def _groups(sr: Dataset) -> list[Dataset]:
    return [
        group
        for container in _named(sr, codes.IMAGING_MEASUREMENTS)
        for group in _named(container, codes.MEASUREMENT_GROUP)
    ]


def _coded_value(group: Dataset, name: Code) -> str:
    """Code value of the first CODE item of that name; empty if there is none."""
    found = [item for item in _named(group, name) if item.ValueType == "CODE"]
    return str(found[0].ConceptCodeSequence[0].CodeValue) if found else ""


def _tracking_uid(group: Dataset) -> str:
    found = _named(group, codes.TRACKING_UID)
    return str(found[0].UID) if found else ""


def _measured(item: Dataset) -> float | None:
    """Numeric value of a NUM; None where its measured value is empty."""
    values = item.get("MeasuredValueSequence")
    return float(values[0].NumericValue) if values else None
