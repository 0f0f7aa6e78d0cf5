"""The coded concepts of the report (PS3.16), and this product's own where no standard code is known.

Codes of the scheme ``99PROGNODE`` are explained by the Coding Scheme Identification Sequence of each report.
"""

from __future__ import annotations

from typing import NamedTuple

from prognode.errors import Reason

SCHEME = "99PROGNODE"
SCHEME_NAME = "Prognode: terms of image-based prognosis"


class Code(NamedTuple):
    """A coded concept (PS3.3 8.8); value at most 16 characters, meaning at most 64."""

    value: str
    scheme: str
    meaning: str


def _private(value: str, meaning: str) -> Code:
    return Code(value, SCHEME, meaning)


# document
REPORT = Code("126000", "DCM", "Imaging Measurement Report")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
DEVICE = Code("121007", "DCM", "Device")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL = Code("121016", "DCM", "Device Observer Serial Number")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
CT_UNSPECIFIED = Code("25045-6", "LN", "CT unspecified body region")
PROCESSING_ALGORITHM = Code("Newcode1", "99IHE", "Processing Algorithm")

# image library, TID 1600 to 1604
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
SOURCE = Code("260753009", "SCT", "Source")
MODALITY = Code("121139", "DCM", "Modality")
CT = Code("CT", "DCM", "Computed Tomography")
FRAME_OF_REFERENCE = Code("112227", "DCM", "Frame of Reference UID")
ROWS = Code("110910", "DCM", "Pixel Data Rows")
COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
HORIZONTAL_SPACING = Code("111026", "DCM", "Horizontal Pixel Spacing")
VERTICAL_SPACING = Code("111066", "DCM", "Vertical Pixel Spacing")
SLICE_THICKNESS = Code("112225", "DCM", "Slice Thickness")
POSITION = tuple(
    Code(str(110901 + i), "DCM", f"Image Position (Patient) {axis}") for i, axis in enumerate("XYZ")
)
ORIENTATION = tuple(
    Code(str(110904 + i), "DCM", f"Image Orientation (Patient) {line} {axis}")
    for i, (line, axis) in enumerate((line, axis) for line in ("Row", "Column") for axis in "XYZ")
)

# measurement group, TID 1410
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING = Code("121071", "DCM", "Finding")
NEUROENDOCRINE_TUMOR = Code("255046005", "SCT", "Neuroendocrine tumor")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
STOMACH = Code("69695003", "SCT", "Stomach")
IMAGE_REGION = Code("111030", "DCM", "Image Region")
REGION_IN_SPACE = Code("130488", "DCM", "Region in Space")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")
ROI_IDENTIFIER = Code("130489", "DCM", "Referenced Region of Interest Identifier")
VISUAL_EXPLANATION = Code("130401", "DCM", "Visual explanation")
COMMENT = Code("121106", "DCM", "Comment")

# how a number came about
DERIVATION = Code("121401", "DCM", "Derivation")
CALCULATED = Code("258090004", "SCT", "Calculated")
ESTIMATED = Code("414135002", "SCT", "Estimated")
MEASURED = Code("258104002", "SCT", "Measured")
REPORTED = _private("REPORTED", "Reported by a person")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ALGORITHM_FAMILY = Code("111000", "DCM", "Algorithm Family")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

# numbers: a viewer writes the meaning and the value into one line over the image, so the meanings are short
SIGNATURE = {
    "arterial": _private("DLSIGA", "Arterial signature"),
    "venous": _private("DLSIGV", "Venous signature"),
}
TOTAL_POINTS = _private("NPTS", "Nomogram total")
LINEAR_PREDICTOR = _private("LP", "Linear predictor (log relative hazard)")
CUTOFF = _private("RISKCUT", "Risk cutoff on the linear predictor")
KI67 = Code("29593-1", "LN", "Cells.Ki-67 nuclear Ag/cells in Tissue by Immune stain")
MODEL_DIAMETER = _private("DIAMODEL", "Longest diameter used")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
AREA = Code("42798000", "SCT", "Area")
VOLUME = Code("118565006", "SCT", "Volume")
AXIS_POINTS = {
    "signature_arterial": _private("NPTSDLSIGA", "Arterial signature points"),
    "signature_venous": _private("NPTSDLSIGV", "Venous signature points"),
    "ki67_percent": _private("NPTSKI67", "Ki-67 points"),
    "longest_diameter_mm": _private("NPTSDIAM", "Longest diameter points"),
    "m_stage": _private("NPTSM", "M stage points"),
}

# units: a viewer writes the code value beside the number, so the private ones are words
PERCENT = Code("%", "UCUM", "Percent")
MM = Code("mm", "UCUM", "mm")
MM2 = Code("mm2", "UCUM", "Square millimeter")
MM3 = Code("mm3", "UCUM", "Cubic millimeter")
PIXELS = Code("{pixels}", "UCUM", "Pixels")
COSINE = Code("{-1:1}", "UCUM", "{-1:1}")
NO_UNIT = Code("1", "UCUM", "no units")
POINTS = _private("points", "Nomogram points")
SCORE = _private("score", "Signature score, without unit")

# categories
RISK_GROUP = _private("RISKGRP", "Prognostic risk group")
RISK = {"high": Code("15508007", "SCT", "High risk"), "low": Code("75976002", "SCT", "Low risk")}
M_STAGE = Code("385380006", "SCT", "Metastasis category finding")
M_STAGES = {"M0": Code("30893008", "SCT", "M0 category"), "M1": Code("55440008", "SCT", "M1 category")}
STATUS = _private("STATUS", "Status of the prognosis report")
STATUSES = {
    "final": _private("FINAL", "Complete: all covariates known"),
    "preliminary": _private("PRELIM", "Preliminary: covariates are missing"),
    "not-evaluable": _private("NOTEVAL", "Not evaluable"),
}
NOT_EVALUABLE = _private("NOTEVAL", "Not evaluable")

REASON_MEANING: dict[Reason, str] = {
    Reason.ROI_NONE: "No region of interest matches the configured rule",
    Reason.ROI_SEVERAL: "Several regions of interest of one series match the rule",
    Reason.ROI_EMPTY: "The region of interest is empty",
    Reason.ROI_TYPE: "The contours are of a type that encloses nothing",
    Reason.ROI_NO_POSITION: "The segmentation does not say where it lies",
    Reason.ROI_SOURCE: "It cannot be told which series the ROI was drawn on",
    Reason.ROI_UNREADABLE: "The ROI object cannot be decoded",
    Reason.FRAME_MISMATCH: "ROI and images have different frames of reference",
    Reason.OUTSIDE_IMAGES: "The contour lies outside the images",
    Reason.TUMOUR_SMALL: "The tumour is smaller than 5 mm",
    Reason.TUMOUR_LARGE: "The tumour is larger than 224 mm",
    Reason.WRONG_MODALITY: "The images are not CT",
    Reason.GANTRY_TILT: "The images were acquired with a tilted gantry",
    Reason.UNEVEN_GAPS: "The distances between the slices are uneven",
    Reason.SLICES_MISSING: "Slices that the analysis needs are missing",
    Reason.SAME_POSITION: "Two images lie at one position",
    Reason.MIXED_GEOMETRY: "The geometry changes inside the series",
    Reason.NO_POSITION: "The images have no position or orientation",
    Reason.TOO_FEW_SLICES: "Fewer than three 1 mm slices",
    Reason.PIXELS_UNREADABLE: "The pixel data cannot be decoded",
    Reason.PHASE_CONFLICT: "The evidence for the contrast phase contradicts itself",
    Reason.PHASE_UNKNOWN: "No evidence tells the arterial from the venous phase",
    Reason.PHASE_SINGLE: "Only one contrast phase has contours",
    Reason.FEATURES_NOT_FINITE: "The network gave features that are not finite",
    Reason.COVARIATE_RANGE: "A covariate is out of its range",
}


def overall_survival(months: int) -> Code:
    """Concept of the predicted overall-survival probability at ``months``: 36 is OS36, '3-year overall survival'.

    That it is a prediction is said by the number's derivation, Estimated.
    """
    term = f"{months // 12}-year" if months % 12 == 0 else f"{months}-month"
    return _private(f"OS{months}", f"{term} overall survival")


def reason_code(reason: Reason) -> Code:
    """The reason of a case that cannot be evaluated: value of the enumeration, and a sentence."""
    return _private(reason.value, REASON_MEANING[reason])
