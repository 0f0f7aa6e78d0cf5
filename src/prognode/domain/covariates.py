"""Covariates as people and files write them, checked once at the door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prognode.domain.prognosis import Covariates
from prognode.errors import BadRequest

LONGEST_DIAMETER_RANGE_MM = (1.0, 500.0)


def parse_clinical(values: Mapping[str, Any]) -> dict[str, Any]:
    """Normalise ``{"ki67": "20", "m_stage": "m1", "diameter_mm": 41}`` to the names the index keeps.

    Raises BadRequest that names the value and the range. Empty values are left out.
    """
    names = {
        "ki67": "ki67_percent",
        "ki67_percent": "ki67_percent",
        "m_stage": "m_stage",
        "diameter_mm": "longest_diameter_mm",
        "longest_diameter_mm": "longest_diameter_mm",
    }
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise BadRequest(f"unknown covariate '{name}'; known are ki67, m_stage and diameter_mm")
        if value is None or str(value).strip() == "":
            continue
        target = names[name]
        parsed[target] = _PARSERS[target](value)
    return parsed


def covariates(clinical: Mapping[str, Any], measured_diameter_mm: float) -> Covariates:
    """Covariates of one case: the diameter that was given, or else the one measured from the contours."""
    given = clinical.get("longest_diameter_mm")
    return Covariates(
        ki67_percent=clinical.get("ki67_percent"),
        m_stage=clinical.get("m_stage"),
        longest_diameter_mm=measured_diameter_mm if given is None else given,
        longest_diameter_origin="measured" if given is None else "reported",
    )


def _number(value: Any, name: str, low: float, high: float, unit: str) -> float:
    try:
        number = float(str(value).strip().rstrip("%").strip())
    except ValueError:
        raise BadRequest(f"{name} is '{value}', not a number; give {low:g} to {high:g} {unit}") from None
    if not low <= number <= high:
        raise BadRequest(f"{name} is {number:g}; it must lie between {low:g} and {high:g} {unit}")
    return number


def _ki67(value: Any) -> float:
    return _number(value, "Ki-67", 0.0, 100.0, "percent")


def _diameter(value: Any) -> float:
    return _number(value, "the longest diameter", *LONGEST_DIAMETER_RANGE_MM, "mm")


def _m_stage(value: Any) -> str:
    stage = str(value).strip().upper()
    if stage in {"M0", "0"}:
        return "M0"
    if stage in {"M1", "1", "M1A", "M1B", "M1C"}:
        return "M1"
    raise BadRequest(f"M stage is '{value}'; give M0 or M1")


_PARSERS = {"ki67_percent": _ki67, "longest_diameter_mm": _diameter, "m_stage": _m_stage}
