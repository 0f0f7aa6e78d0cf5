"""A report as JSON: what travels between services and lies beside the SR, with every number and no patient's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from prognode.domain.geometry import ImagePlane
from prognode.domain.identity import figure_uid, report_uid
from prognode.domain.prognosis import AxisPoints, Covariates, Prognosis
from prognode.domain.report import PhaseFinding, RecipeIdentity, Report, RoiReference
from prognode.errors import Reason

JSON = dict[str, Any]

_DERIVED = ("sop_instance_uid", "figure_sop_instance_uid")


def report_to_json(report: Report) -> JSON:
    """Every field of the report, tuples and arrays as lists, plus the UIDs that follow from it.

    ``figure_sop_instance_uid`` is null where there is no figure: a case that cannot be evaluated.
    """
    figure = None if report.prognosis is None else figure_uid(report)
    return {"sop_instance_uid": report_uid(report), "figure_sop_instance_uid": figure, **_plain(report)}


def _plain(value: Any) -> Any:
    """Dataclasses as dicts in field order, sequences and arrays as lists, enumerations as their values."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


def report_from_json(data: JSON) -> Report:
    """Inverse of :func:`report_to_json`. ``KeyError`` or ``TypeError`` when fields are missing or unknown."""
    fields = {key: value for key, value in data.items() if key not in _DERIVED}
    return Report(
        **_replaced(
            fields,
            notices=tuple,
            candidates=tuple,
            remarks=tuple,
            findings=_all(_finding),
            roi_objects=_all(_roi_reference),
            recipe=lambda recipe: RecipeIdentity(**recipe),
            prognosis=_optional(_prognosis),
            reason=_optional(Reason),
            anchor=_optional(_plane),
        )
    )


def _replaced(data: JSON, **convert: Callable[[Any], Any]) -> JSON:
    """Copy of ``data`` with the named entries converted."""
    return {key: convert[key](value) if key in convert else value for key, value in data.items()}


def _all(build: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    return lambda entries: tuple(build(entry) for entry in entries)


def _optional(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else build(value)


def _roi_reference(data: JSON) -> RoiReference:
    return RoiReference(**data)


def _plane(data: JSON) -> ImagePlane:
    return ImagePlane(**_replaced(data, position_lps_mm=tuple, row_cosines=tuple, column_cosines=tuple))


def _points(outline: list[list[float]]) -> Any:
    return np.asarray(outline, dtype=np.float64).reshape(-1, 2)


def _finding(data: JSON) -> PhaseFinding:
    return PhaseFinding(
        **_replaced(
            data,
            roi=_roi_reference,
            plane=_plane,
            outlines_px=_all(_points),
            slice_uids=tuple,
            remarks=tuple,
        )
    )


def _prognosis(data: JSON) -> Prognosis:
    return Prognosis(
        **_replaced(
            data,
            axes=_all(lambda axis: AxisPoints(**axis)),
            survival=_all(tuple),
            curve=_all(tuple),
            covariates=lambda covariates: Covariates(**covariates),
            missing=tuple,
            remarks=tuple,
        )
    )


def finding_to_json(finding: PhaseFinding) -> JSON:
    """One phase's finding alone, as preprocess hands it to scoring."""
    plain: JSON = _plain(finding)
    return plain


def finding_from_json(data: JSON) -> PhaseFinding:
    """Inverse of :func:`finding_to_json`."""
    return _finding(data)
