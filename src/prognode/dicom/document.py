"""What the SR and the figure share: patient, study and equipment modules, and the character set.

The objects go into the study of the images, so patient and study are what the images say, however poorly they say it:
identifying values are copied as they are, because the PACS matches on them; a date that is no date is left empty.
"""

from __future__ import annotations

import re
from typing import Any

from pydicom.charset import python_encoding
from pydicom.dataset import Dataset

from prognode.dicom import codes
from prognode.dicom import sr_items as sr
from prognode.domain.identity import REPORT_FORMAT, device_uid
from prognode.domain.report import RecipeIdentity

_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
_SEX = re.compile(r"[MFO]")
_AGE = re.compile(r"\d{3}[DWMY]")
_ANY = re.compile(r".*", re.DOTALL)

# tag, VR, pattern, longest (None: identifying, never cut), always present (type 2)
_COPIED: tuple[tuple[int, str, re.Pattern[str], int | None, bool], ...] = (
    (0x00080020, "DA", _DATE, None, True),
    (0x00080030, "TM", _TIME, None, True),
    (0x00080050, "SH", _ANY, None, True),
    (0x00080090, "PN", _ANY, None, True),
    (0x00081030, "LO", _ANY, 64, False),
    (0x00100010, "PN", _ANY, None, True),
    (0x00100020, "LO", _ANY, None, True),
    (0x00100021, "LO", _ANY, None, False),
    (0x00100030, "DA", _DATE, None, True),
    (0x00100040, "CS", _SEX, None, True),
    (0x00101010, "AS", _AGE, None, False),
    (0x0020000D, "UI", _ANY, None, True),
    (0x00200010, "SH", _ANY, 16, True),
)


def patient_and_study(source: Dataset) -> Dataset:
    """Patient, General Study and Patient Study attributes (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2) of a source header."""
    dataset = Dataset()
    for tag, vr, pattern, longest, always in _COPIED:
        value = _text(source, tag)[:longest].strip()
        if not pattern.fullmatch(value):
            value = ""
        if value or always:
            dataset.update(sr.attributes((tag, vr, value)))
    return dataset


def _text(source: Dataset, tag: int) -> str:
    """Value of an element as one string; several values stay joined by a backslash, as they are stored."""
    element = source.get(tag)
    if element is None or element.value is None:
        return ""
    value = element.value
    return value if isinstance(value, str) else "\\".join(map(str, value)) if _several(value) else str(value)


def _several(value: Any) -> bool:
    return isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"


def equipment(recipe: RecipeIdentity) -> list[tuple[int, str, object]]:
    """Equipment modules, and the algorithm as Contributing Equipment with its Device UID (IHE AIR)."""
    versions = [f"recipe {recipe.version}"[:64], f"report format {REPORT_FORMAT}"]
    maker: list[tuple[int, str, object]] = [
        (0x00080070, "LO", "Prognode"),
        (0x00081090, "LO", recipe.name[:64]),
        (0x00181020, "LO", versions),
    ]
    algorithm = sr.attributes(
        *maker,
        (0x00181002, "UI", device_uid(recipe)),
        (0x0018A003, "ST", "Survival estimate by deep-learning radiomics; research use only"),
        (0x0040A170, "SQ", sr.coded(codes.PROCESSING_ALGORITHM)),
    )
    return [*maker, (0x00181000, "LO", recipe.digest[:16]), (0x0018A001, "SQ", [algorithm])]


def set_character_set(dataset: Dataset, source: Dataset) -> None:
    """Name the character set that holds every text: none for ASCII, the images' own if it does, or else UTF-8.

    A code-extension set (several values) is never chosen: UTF-8 says the same with less that can go wrong.
    """
    text = "".join(_texts(dataset))
    if text.isascii():
        return
    own = source.get("SpecificCharacterSet")
    usable = isinstance(own, str) and own.startswith("ISO_IR") and _holds(python_encoding.get(own), text)
    dataset.update(sr.attributes((0x00080005, "CS", own if usable else "ISO_IR 192")))


def _holds(encoding: str | None, text: str) -> bool:
    try:
        return encoding is not None and bool(text.encode(encoding))
    except UnicodeEncodeError:
        return False


def _texts(dataset: Dataset) -> list[str]:
    """Every value of the VRs that the character set governs (PS3.5 6.1.2.3), at every depth."""
    found: list[str] = []
    for element in dataset:
        if element.VR == "SQ":
            for entry in element.value:
                found.extend(_texts(entry))
        elif element.VR in {"PN", "SH", "LO", "ST", "LT", "UT", "UC"} and element.value:
            found.append(str(element.value))
    return found
