"""Small synthetic studies for tests, made once per process."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from training.synthetic_study import StudySpec, SyntheticStudy, generate_study

SMALL = StudySpec(slices=40, rows=128, columns=128, row_spacing_mm=2.75, column_spacing_mm=2.75)
"""2 x 40 slices of 128 x 128: enough slices for the crop's need-set, made in a fraction of a second."""


def small_spec(**changes: Any) -> StudySpec:
    """The small specification with some fields changed."""
    return replace(SMALL, **changes)


@cache
def study_of(spec: StudySpec) -> SyntheticStudy:
    """The study of ``spec``, shared by all tests of the process: do not change its datasets."""
    return generate_study(spec)


def small_study(**changes: Any) -> SyntheticStudy:
    """A small study; ``changes`` are fields of :class:`StudySpec`. Shared: do not change its datasets."""
    return study_of(small_spec(**changes))
