"""Everything that can go wrong on purpose, as one tree.

::

    PrognodeError
    ├── InvalidInput     the images, contours or covariates cannot be evaluated: ends as a report that says so
    ├── BadRequest       a person gave a wrong file, option or address: one sentence, exit 2
    ├── Unavailable      a peer, disk or engine does not answer now: retried with back-off
    ├── GaveUp           a peer will never take this: set aside as a dead letter that says why
    ├── NotEstimable     the data cannot support an estimate: the laboratory's report says so in its place
    └── RecipeMismatch   recipe, extractor and code do not belong together: the service refuses to start

Any other exception is a bug: the message that met it becomes a dead letter, and many in a row stop the process loudly.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a case or an ROI is not evaluable. A value is at most 16 characters, so that it is a DICOM code value."""

    ROI_NONE = "roi-none"  # no ROI matches the configured rule
    ROI_SEVERAL = "roi-several"  # more than one ROI of one series matches
    ROI_EMPTY = "roi-empty"  # the ROI has no contour, frame or pixel
    ROI_TYPE = "roi-type"  # contours of a type that encloses nothing (POINT, OPEN_PLANAR, ...)
    ROI_NO_POSITION = "roi-no-position"  # a segmentation without a frame of reference or plane positions
    ROI_SOURCE = "roi-source"  # it cannot be told which one series the ROI was drawn on
    ROI_UNREADABLE = "roi-unreadable"  # the ROI object cannot be decoded
    FRAME_MISMATCH = "frame-mismatch"  # frame of reference of ROI and images differ
    OUTSIDE_IMAGES = "outside-images"  # the contour lies outside the images
    TUMOUR_SMALL = "tumour-small"  # under 5 mm
    TUMOUR_LARGE = "tumour-large"  # over 224 mm
    WRONG_MODALITY = "wrong-modality"  # the images are not CT
    GANTRY_TILT = "gantry-tilt"
    UNEVEN_GAPS = "uneven-gaps"
    SLICES_MISSING = "slices-missing"  # inside the need-set
    SAME_POSITION = "same-position"  # two images at one position
    MIXED_GEOMETRY = "mixed-geometry"  # orientation, spacing or matrix changes inside the series
    NO_POSITION = "no-position"  # images without position or orientation
    TOO_FEW_SLICES = "too-few-slices"  # fewer than three 1 mm slices
    PIXELS_UNREADABLE = "pixels-unread"  # pixel data cannot be decoded
    PHASE_CONFLICT = "phase-conflict"  # evidence contradicts itself
    PHASE_UNKNOWN = "phase-unknown"  # no evidence tells arterial from venous
    PHASE_SINGLE = "phase-single"  # contours on one phase only
    FEATURES_NOT_FINITE = "features-nan"
    COVARIATE_RANGE = "covariate-range"


class PrognodeError(Exception):
    """Base of every outcome that is foreseen."""


class InvalidInput(PrognodeError):
    """Input that cannot be evaluated, with a coded reason and a sentence for a person.

    ``detail`` never holds patient names or identifiers; ``candidates`` lists what a person may choose from.
    """

    def __init__(self, reason: Reason, detail: str, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
        self.candidates = candidates


class BadRequest(PrognodeError):
    """A file, option or address that a person gave is wrong; the message says which, why, and what to do."""


class Unavailable(PrognodeError):
    """Something outside does not answer now; the work is tried again after ``retry_after_s``, or as the worker likes."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class GaveUp(PrognodeError):
    """Trying again cannot help; the message is set aside with this reason, which holds no patient data."""


class NotEstimable(PrognodeError):
    """A statistic that these data do not determine: no events, separation, a constant column, too few patients.

    The sentence names what is missing, never a patient; it stands in the report where the number would.
    """


class RecipeMismatch(PrognodeError):
    """Recipe, extractor weights and code do not belong together."""
