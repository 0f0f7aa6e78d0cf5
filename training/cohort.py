"""The cohort table: one row a patient, read whole and checked whole before anything is computed.

A study of months must not fail on row 140, nor on the second fault after the first was mended. Every fault is found at
once and named by row and column. Nothing is guessed: an empty cell is missing, everything else must be of its code.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prognode.domain.prognosis import Phase
from prognode.errors import BadRequest
from training.covariates import COVARIATES, Covariate, Number

DAYS_PER_MONTH = 30.0
"""Paper, Statistical analysis: one month is 30 days."""
LONGEST_MONTHS = 1200.0
MISSING = frozenset({"", "na", "n/a", "nan", "."})
SEPARATORS = ",;\t"

CohortName = Literal["training", "internal", "external"]
COHORTS: tuple[CohortName, ...] = ("training", "internal", "external")
_COHORT_WORDS: dict[str, CohortName] = {
    "training": "training",
    "train": "training",
    "internal": "internal",
    "internal validation": "internal",
    "external": "external",
    "external validation": "external",
}
PHASES: tuple[Phase, ...] = ("arterial", "venous")
IMAGE_COLUMNS = (
    "study",
    *(f"{phase}_{what}" for phase in PHASES for what in ("images", "contour", "contour_second")),
)
COLUMNS = (
    "patient_id",
    "cohort",
    "hospital",
    *IMAGE_COLUMNS,
    "months",
    "days",
    "event",
    *(covariate.name for covariate in COVARIATES),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in the table."""

    row: int
    """Line of the file as an editor counts: the header is line 1. 0 speaks of the whole table."""
    column: str
    sentence: str


class CohortFaults(BadRequest):
    """The table cannot be used; ``faults`` says why, all of it at once."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        first = faults[0]
        where = f"row {first.row}, " if first.row else ""
        many = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        super().__init__(
            f"{path}: {many} in the cohort table, nothing was computed; {where}{first.column}: {first.sentence}"
        )
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Contour:
    """A contour file, and which of its ROIs, where the cell says so (``file#2``)."""

    path: Path
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Images:
    """Where a patient's images and contours lie: a whole study as a PACS would send it, or each phase by itself."""

    study: Path | None = None
    folders: Mapping[Phase, Path] = field(default_factory=dict)
    contours: Mapping[Phase, Contour] = field(default_factory=dict)
    second: Mapping[Phase, Contour] = field(default_factory=dict)
    """A second reading of both phases, or empty."""


@dataclass(frozen=True, slots=True)
class Patient:
    """One row."""

    row: int
    patient_id: str
    cohort: CohortName | None
    hospital: str
    images: Images | None
    """None where features were given instead."""
    months: float
    event: bool
    covariates: Mapping[str, float | str]
    """By name; what is missing is not there."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Every patient of a table that has no fault."""

    path: Path
    patients: tuple[Patient, ...]
    columns: tuple[str, ...]
    """Those of the table that this program knows."""
    remarks: tuple[str, ...] = ()
    """What a reader of the report must know about the table."""


def read_cohort(path: Path, *, images: bool = True) -> Cohort:
    """Read and check a cohort table (CSV, UTF-8; comma, semicolon or tab).

    ``images``: whether the table must name images and contours (not when feature tables are given). Paths are relative
    to the table. Raises :class:`CohortFaults` with every fault, or BadRequest when it is no table at all.
    """
    header, rows = _records(path)
    faults = list(_header_faults(header, images=images))
    if faults:
        raise CohortFaults(path, faults)
    reader = _Reader(path.parent, frozenset(header), images, faults)
    patients = tuple(reader.patient(number, row) for number, row in rows)
    faults += _table_faults(patients)
    if faults:
        raise CohortFaults(path, sorted(faults, key=lambda fault: fault.row))
    known = tuple(name for name in COLUMNS if name in header)
    return Cohort(path, patients, known, _remarks(header))


def _records(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """(column names, (line, cells by column) of each row that is not empty)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as fault:
        raise BadRequest(
            f"{path}: cannot be read ({fault.strerror}); give a CSV file, one row a patient"
        ) from None
    except UnicodeDecodeError:
        raise BadRequest(f"{path}: not UTF-8 text; save the table as CSV UTF-8") from None
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise BadRequest(f"{path}: the table is empty; its first line must name the columns")
    separator = max(SEPARATORS, key=lines[0].count)
    reader = csv.reader(lines, delimiter=separator)
    header = [name.strip().lower() for name in next(reader)]
    found = []
    for cells in reader:
        if any(cell.strip() for cell in cells):
            padded = [*cells, *[""] * (len(header) - len(cells))]
            row = {name: cell.strip() for name, cell in zip(header, padded, strict=False)}
            surplus = [cell for cell in cells[len(header) :] if cell.strip()]
            found.append((reader.line_num, row | ({"": separator.join(surplus)} if surplus else {})))
    return header, found


def _header_faults(header: Sequence[str], *, images: bool) -> Iterator[Fault]:
    for name in sorted({name for name in header if header.count(name) > 1}):
        yield Fault(1, name or "(nameless)", "the column is there more than once")
    for name in ("patient_id", "event"):
        if name not in header:
            yield Fault(1, name, "the column is missing")
    if not {"months", "days"} & set(header):
        yield Fault(1, "months", "follow-up is missing: give a column months (30 days each) or days")
    if not {"cohort", "hospital"} & set(header):
        yield Fault(1, "cohort", "give a column cohort (training, internal, external) or hospital")
    split = {f"{phase}_{what}" for phase in PHASES for what in ("images", "contour")}
    if images and "study" not in header and not split <= set(header):
        missing = ", ".join(sorted(split - set(header)))
        yield Fault(1, "study", f"images are missing: give a column study, or {missing}")


def _table_faults(patients: Sequence[Patient]) -> Iterator[Fault]:
    if not patients:
        yield Fault(0, "patient_id", "the table has no patient")
    first: dict[str, int] = {}
    for patient in patients:
        if patient.patient_id and patient.patient_id in first:
            yield Fault(
                patient.row,
                "patient_id",
                f"'{patient.patient_id}' stands in row {first[patient.patient_id]} too",
            )
        first.setdefault(patient.patient_id, patient.row)


def _remarks(header: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in header if name and name not in COLUMNS]
    said = [f"columns that are not used: {', '.join(unknown)}"] if unknown else []
    if "days" in header:
        said.append("follow-up was given in days and divided by 30")
    return tuple(said)


# ---------------------------------------------------------------- one row


@dataclass
class _Reader:
    """Turns rows into patients and collects what is wrong with them."""

    base: Path
    header: frozenset[str]
    wants_images: bool
    faults: list[Fault]

    def patient(self, number: int, row: Mapping[str, str]) -> Patient:
        def fault(column: str, sentence: str) -> None:
            self.faults.append(Fault(number, column, sentence))

        if row.get(""):
            fault("(beyond the header)", f"'{row['']}' stands under no column")
        patient_id = row["patient_id"]
        if not patient_id:
            fault("patient_id", "it is empty; every patient needs a name that is no real name")
        return Patient(
            row=number,
            patient_id=patient_id,
            cohort=self._cohort(row, fault),
            hospital=row.get("hospital", ""),
            images=self._images(row, fault) if self.wants_images else None,
            months=_months(row, fault),
            event=_event(row, fault),
            covariates=_covariates(row, fault),
        )

    def _cohort(self, row: Mapping[str, str], fault: Callable[[str, str], None]) -> CohortName | None:
        text = " ".join(row.get("cohort", "").lower().replace("_", " ").split())
        if text in MISSING:
            if not row.get("hospital"):
                column = "cohort" if "cohort" in self.header else "hospital"
                fault(column, "it is empty; give training, internal or external, or a hospital")
            return None
        if text not in _COHORT_WORDS:
            fault("cohort", f"'{row['cohort']}' is no cohort; give training, internal or external")
            return None
        return _COHORT_WORDS[text]

    # ------------------------------------------------------------ images

    def _images(self, row: Mapping[str, str], fault: Callable[[str, str], None]) -> Images:
        study = row.get("study", "")
        if study and not any(
            row.get(f"{phase}_{what}") for phase in PHASES for what in ("images", "contour")
        ):
            second = self._contours(row, "contour_second", fault, optional=True)
            return Images(study=self._folder("study", study, fault), second=second)
        folders = {
            phase: self._folder(f"{phase}_images", row.get(f"{phase}_images") or study, fault)
            for phase in PHASES
        }
        return Images(
            folders=folders,
            contours=self._contours(row, "contour", fault),
            second=self._contours(row, "contour_second", fault, optional=True),
        )

    def _folder(self, column: str, text: str, fault: Callable[[str, str], None]) -> Path:
        path = self.base / Path(text).expanduser()
        if not text:
            fault(column, "it is empty; name the folder with the images")
        elif not path.exists():
            fault(column, f"'{text}': there is no such folder or file")
        elif path.is_dir() and not any(path.iterdir()):
            fault(column, f"'{text}': the folder is empty")
        return path

    def _contours(
        self, row: Mapping[str, str], what: str, fault: Callable[[str, str], None], *, optional: bool = False
    ) -> dict[Phase, Contour]:
        given = {phase: row.get(f"{phase}_{what}", "") for phase in PHASES}
        if optional and not any(given.values()):
            return {}
        return {phase: self._contour(f"{phase}_{what}", text, fault) for phase, text in given.items()}

    def _contour(self, column: str, text: str, fault: Callable[[str, str], None]) -> Contour:
        name, mark, number = text.rpartition("#")
        if not mark or not number.isdecimal():
            name, number = text, ""
        path = self.base / Path(name).expanduser()
        if not text:
            fault(column, "it is empty; name the contour file (RTSTRUCT, SEG or NIfTI) of this phase")
        elif not path.is_file():
            fault(column, f"'{name}': there is no such file")
        return Contour(path, int(number) if number else None)


def _number(text: str, low: float, high: float) -> float | str:
    """The number, or a sentence about what is wrong with it."""
    try:
        value = float(text)
    except ValueError:
        comma = f"; write {text.replace(',', '.')}" if text.count(",") == 1 else ""
        return f"'{text}' is not a number{comma}"
    if not math.isfinite(value) or not low <= value <= high:
        return f"{text} must lie between {low:g} and {high:g}"
    return value


def _months(row: Mapping[str, str], fault: Callable[[str, str], None]) -> float:
    given = {name: row[name] for name in ("months", "days") if row.get(name, "").lower() not in MISSING}
    if len(given) != 1:
        column = "months" if "months" in row else "days"
        fault(column, "months and days are both given; keep one" if given else "the follow-up is empty")
        return 0.0
    ((name, text),) = given.items()
    unit = 1.0 if name == "months" else DAYS_PER_MONTH
    value = _number(text, 0.0, LONGEST_MONTHS * unit)
    if isinstance(value, str):
        fault(name, value)
        return 0.0
    return value / unit


def _event(row: Mapping[str, str], fault: Callable[[str, str], None]) -> bool:
    text = row["event"].lower()
    if text in {"1", "1.0", "dead", "died", "death"}:
        return True
    if text not in {"0", "0.0", "alive", "censored"}:
        fault(
            "event", f"'{row['event']}' is no outcome; give 1 for death, 0 for alive at the end of follow-up"
        )
    return False


def _covariates(row: Mapping[str, str], fault: Callable[[str, str], None]) -> dict[str, float | str]:
    values: dict[str, float | str] = {}
    for one in COVARIATES:
        text = row.get(one.name, "")
        if text.lower() in MISSING:
            continue
        value, sentence = _coded(one, text)
        if sentence:
            fault(one.name, sentence)
        else:
            values[one.name] = value
    return values


def _coded(one: Covariate, text: str) -> tuple[float | str, str]:
    """(value, sentence about what is wrong or nothing)."""
    if isinstance(one, Number):
        value = _number(text.removesuffix("%").strip(), one.low, one.high)
        return (0.0, value) if isinstance(value, str) else (value, "")
    by_word = {level.lower(): level for level in one.levels} | one.synonyms
    level = by_word.get(text.lower())
    return (level, "") if level else ("", f"'{text}' is no code; give {', '.join(one.levels)}")
