"""Whether a cohort looks like the one a recipe was trained on: covariates, signatures and the features behind them.

The recipe carries the training cohort in summary (no single patient), so that a hospital can compare without its data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from prognode.domain.prognosis import Phase
from prognode.domain.signature import Signature
from prognode.statistics.outcome import Floats
from training.cohort import PHASES
from training.covariates import COVARIATES, Factor, Number, covariate
from training.models import PHASE_OF, SIGNATURE_LABELS, Values
from training.sample import Sample, known_covariates

JSON = dict[str, Any]
NOTEWORTHY = 0.25
"""Absolute standardised difference from which two cohorts differ in a covariate in a way that matters (Stuart 2010)."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One variable here and in training."""

    kind: str
    """covariate | signature | feature, arterial | feature, venous."""
    name: str
    training: str
    here: str
    difference: float | None
    """Standardised: of means in training's standard deviation, or of a share by Cohen's h; None if it cannot be told."""
    outside: float | None
    """Share of patients here whose value lies outside training's range; None for levels."""

    @property
    def noteworthy(self) -> bool:
        """Whether somebody should look."""
        far = self.difference is not None and abs(self.difference) > NOTEWORTHY
        return far or bool(self.outside and self.outside > 0.05)


def reference_distribution(sample: Sample, values: Values, signatures: Mapping[Phase, Signature]) -> JSON:
    """The training cohort in summary, as the recipe carries it."""
    numbers = {
        one.name: sample.numeric(one.name) for one in known_covariates(sample) if isinstance(one, Number)
    }
    numbers |= {name: values[name] for name in PHASE_OF if name in values}
    levels = {one.name: _counts(sample, one) for one in known_covariates(sample) if isinstance(one, Factor)}
    features = {
        phase: {
            str(number): _summary(sample.features[phase][:, number])
            for number in (signatures[phase].indices if phase in signatures else ())
        }
        for phase in PHASES
    }
    summaries = {name: _summary(column) for name, column in numbers.items() if np.isfinite(column).any()}
    return {"numbers": summaries, "levels": levels, "features": features}


def _summary(column: Floats) -> JSON:
    known = column[np.isfinite(column)]
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return {
        "mean": float(known.mean()),
        "sd": spread,
        "minimum": float(known.min()),
        "maximum": float(known.max()),
        "missing": int(len(column) - len(known)),
    }


def _counts(sample: Sample, factor: Factor) -> dict[str, int]:
    column = sample.covariates[factor.name].tolist()
    return {level: column.count(level) for level in factor.levels}


def drift(reference: Mapping[str, Any], sample: Sample, values: Values) -> tuple[Drift, ...]:
    """Every variable of a reference that the sample has: covariates, signatures, then features by phase."""
    found: list[Drift] = []
    for one in COVARIATES:
        if one.name in reference["numbers"] and one.name in sample.covariates:
            found.append(
                _number("covariate", one.label, reference["numbers"][one.name], sample.numeric(one.name))
            )
        if one.name in reference["levels"] and one.name in sample.covariates:
            found += _levels(one.name, reference["levels"][one.name], sample)
    found += [
        _number("signature", SIGNATURE_LABELS[name], reference["numbers"][name], values[name])
        for name in PHASE_OF
        if name in values and name in reference["numbers"]
    ]
    for phase in PHASES:
        for number, summary in sorted(reference["features"][phase].items(), key=lambda item: int(item[0])):
            column = sample.features[phase][:, int(number)]
            found.append(_number(f"feature, {phase}", f"f{int(number):04d}", summary, column))
    return tuple(found)


def _number(kind: str, name: str, summary: Mapping[str, Any], column: Floats) -> Drift:
    known = column[np.isfinite(column)]
    here = f"{known.mean():.4g} ± {known.std(ddof=1):.4g}" if len(known) > 1 else f"{len(known)} values"
    difference = outside = None
    if len(known) and summary["sd"] > 0:
        difference = float((known.mean() - summary["mean"]) / summary["sd"])
    if len(known):
        outside = float(np.mean((known < summary["minimum"]) | (known > summary["maximum"])))
    return Drift(kind, name, f"{summary['mean']:.4g} ± {summary['sd']:.4g}", here, difference, outside)


def _levels(name: str, counts: Mapping[str, int], sample: Sample) -> list[Drift]:
    factor = covariate(name)
    assert isinstance(factor, Factor)
    here = _counts(sample, factor)
    total, total_here = sum(counts.values()), sum(here.values())
    found = []
    for level in factor.levels:
        count = counts[level]
        shares = (count / total if total else np.nan, here[level] / total_here if total_here else np.nan)
        difference = float(2 * np.arcsin(np.sqrt(shares[1])) - 2 * np.arcsin(np.sqrt(shares[0])))
        known = difference if np.isfinite(difference) else None
        before, now = f"{count} ({100 * shares[0]:.1f} %)", f"{here[level]} ({100 * shares[1]:.1f} %)"
        label = f"{factor.label}: {factor.label_of(level)}"
        found.append(Drift("covariate", label, before, now, known, None))
    return found
