"""The cohort table: every fault at once, by row and column, and nothing guessed."""

from __future__ import annotations

import pytest

from prognode.errors import BadRequest
from training.cohort import CohortFaults, read_cohort

HEADER = "patient_id,cohort,months,event,age,sex,location,longest_diameter_mm,ct_lymph_nodes,m_stage,ki67_percent,grade"
GOOD = "A1,training,12.5,1,61,M,body,41,yes,M1,30,NETG3"


def table(tmp_path, *rows: str, header: str = HEADER, name: str = "cohort.csv"):
    """A cohort table without images."""
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def faults(path, *, images: bool = False) -> list[tuple[int, str]]:
    """(row, column) of every fault."""
    with pytest.raises(CohortFaults) as raised:
        read_cohort(path, images=images)
    return [(fault.row, fault.column) for fault in raised.value.faults]


def test_a_good_table_gives_patients_with_coded_values(tmp_path):
    """Numbers are numbers, factors have their codes, whatever way they were written."""
    path = table(
        tmp_path, GOOD, "A2,External validation,30,alive,70,female,Cardia_Fundus,10.5,N0,0,2%,net g1"
    )
    first, second = read_cohort(path, images=False).patients
    assert (first.months, first.event, first.cohort) == (12.5, True, "training")
    assert first.covariates == {
        "age": 61.0,
        "sex": "M",
        "location": "body",
        "longest_diameter_mm": 41.0,
        "ct_lymph_nodes": "yes",
        "m_stage": "M1",
        "ki67_percent": 30.0,
        "grade": "NETG3",
    }
    assert (second.event, second.cohort) == (False, "external")
    assert second.covariates["sex"] == "F"
    assert second.covariates["location"] == "cardia_fundus"
    assert second.covariates["ct_lymph_nodes"] == "no"
    assert (second.covariates["m_stage"], second.covariates["grade"]) == ("M0", "NETG1")
    assert second.covariates["ki67_percent"] == 2.0


def test_every_fault_is_listed_with_its_row_and_column(tmp_path):
    """Eight faults in three rows are eight sentences, in one go."""
    path = table(
        tmp_path,
        "A1,training,-3,1,61,M,body,41,yes,M1,30,NETG3",
        "A1,nowhere,12,maybe,200,X,body,41,yes,M2,30,NETG3",
        ",training,,0,61,M,body,4;1,yes,M1,130,NETG3",
    )
    assert faults(path) == [
        (2, "months"),
        (3, "cohort"),
        (3, "event"),
        (3, "age"),
        (3, "sex"),
        (3, "m_stage"),
        (3, "patient_id"),
        (4, "patient_id"),
        (4, "months"),
        (4, "longest_diameter_mm"),
        (4, "ki67_percent"),
    ]


def test_a_decimal_comma_is_explained(tmp_path):
    """The most frequent fault of all says how to write it."""
    path = table(tmp_path, GOOD.replace(",41,", ';"41,5";').replace(";", ","))
    with pytest.raises(CohortFaults, match=r"write 41\.5"):
        read_cohort(path, images=False)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_of_all_spreadsheets_are_read(tmp_path, separator):
    """Comma, semicolon or tab, with a byte order mark or without."""
    path = tmp_path / "cohort.csv"
    text = f"{HEADER}\n{GOOD}\n".replace(",", separator)
    path.write_bytes("\ufeff".encode() + text.encode())
    assert read_cohort(path, images=False).patients[0].patient_id == "A1"


def test_days_are_months_of_thirty_days_and_it_is_said(tmp_path):
    """Paper, Statistical analysis: 1 month is 30 days."""
    path = table(tmp_path, GOOD.replace("12.5", "375"), header=HEADER.replace("months", "days"))
    cohort = read_cohort(path, images=False)
    assert cohort.patients[0].months == 12.5
    assert any("divided by 30" in remark for remark in cohort.remarks)


def test_both_months_and_days_are_one_too_many(tmp_path):
    """Two follow-ups may differ; a person must say which holds."""
    assert faults(table(tmp_path, GOOD + ",400", header=HEADER + ",days")) == [(2, "months")]


def test_empty_cells_are_missing_and_not_zero(tmp_path):
    """A covariate without a value is not there."""
    path = table(tmp_path, "A1,training,12,0,,M,NA,,yes,M1,n/a,NETG3")
    assert set(read_cohort(path, images=False).patients[0].covariates) == {
        "sex",
        "ct_lymph_nodes",
        "m_stage",
        "grade",
    }


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        (HEADER.replace("event,", ""), "event"),
        (HEADER.replace("months,", ""), "months"),
        (HEADER.replace("cohort,", ""), "cohort"),
        (HEADER.replace("patient_id,", ""), "patient_id"),
        (HEADER + ",age", "age"),
    ],
)
def test_header_faults_come_before_any_row(tmp_path, header, missing):
    """A column that is missing or there twice is one fault, not one per row."""
    assert faults(table(tmp_path, GOOD, GOOD, header=header)) == [(1, missing)]


def test_unknown_columns_are_named_and_not_used(tmp_path):
    """A misspelt column must not vanish in silence."""
    path = table(tmp_path, GOOD + ",5", header=HEADER + ",ki-67")
    assert read_cohort(path, images=False).remarks == ("columns that are not used: ki-67",)


def test_cells_beyond_the_header_are_a_fault(tmp_path):
    """A comma too many shifts every value after it."""
    assert faults(table(tmp_path, GOOD + ",x")) == [(2, "(beyond the header)")]


def test_images_and_contours_must_be_there(tmp_path):
    """Paths are relative to the table, and are looked at before anything is computed."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "c.dcm").write_bytes(b"x")
    columns = ",arterial_images,venous_images,arterial_contour,venous_contour"
    path = table(
        tmp_path,
        GOOD + ",a,a,c.dcm,c.dcm#2",
        GOOD.replace("A1", "A2") + ",nothing,empty,absent.dcm,",
        header=HEADER + columns,
    )
    assert faults(path, images=True) == [
        (3, "arterial_images"),
        (3, "venous_images"),
        (3, "arterial_contour"),
        (3, "venous_contour"),
    ]


def test_a_contour_may_name_its_roi(tmp_path):
    """``file#2`` is the second ROI of the file."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(b"x")
    (tmp_path / "c.dcm").write_bytes(b"x")
    columns = ",arterial_images,venous_images,arterial_contour,venous_contour"
    path = table(tmp_path, GOOD + ",a,a,c.dcm,c.dcm#2", header=HEADER + columns)
    images = read_cohort(path).patients[0].images
    assert (images.contours["arterial"].number, images.contours["venous"].number) == (None, 2)
    assert images.contours["venous"].path == tmp_path / "c.dcm"


def test_a_table_without_image_columns_says_which(tmp_path):
    """Images are needed unless features are given."""
    assert faults(table(tmp_path, GOOD), images=True) == [(1, "study")]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"patient_id\xe9\n"])
def test_what_is_no_table_is_one_sentence(tmp_path, content):
    """An empty file and one in another encoding."""
    path = tmp_path / "cohort.csv"
    path.write_bytes(content)
    with pytest.raises(BadRequest, match=r"cohort\.csv"):
        read_cohort(path, images=False)


def test_a_table_without_patients_is_a_fault(tmp_path):
    """A header alone is no cohort."""
    assert faults(table(tmp_path)) == [(0, "patient_id")]
