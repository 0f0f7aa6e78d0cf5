"""Feature tables: 2048 columns in the network's order, every fault named, nothing lost between writing and reading."""

from __future__ import annotations

import numpy as np
import pytest

from prognode.errors import BadRequest
from training.cohort import CohortFaults
from training.feature_tables import read_features, write_features


@pytest.fixture
def features():
    """Two patients, one of them read twice."""
    random = np.random.default_rng(1)
    rows = random.standard_normal((3, 2048)).astype(np.float32)
    return {1: {"A": rows[0], "B": rows[1]}, 2: {"A": rows[2]}}


def test_float32_features_survive_exactly(features, tmp_path):
    """What was written comes back to the last bit, first and second reading."""
    write_features(tmp_path / "f.csv", features)
    found = read_features(tmp_path / "f.csv", ["A", "B"])
    for reading, by_patient in features.items():
        assert set(found[reading]) == set(by_patient)
        for patient, values in by_patient.items():
            assert (found[reading][patient].astype(np.float32) == values).all()


def test_numbered_columns_may_stand_in_any_order(features, tmp_path):
    """f0007 is output 7, wherever the column stands."""
    write_features(tmp_path / "f.csv", features)
    lines = [line.split(",") for line in (tmp_path / "f.csv").read_text().splitlines()]
    turned = [[*cells[:2], *cells[:1:-1]] for cells in lines]
    (tmp_path / "turned.csv").write_text("\n".join(",".join(cells) for cells in turned) + "\n")
    found = read_features(tmp_path / "turned.csv", ["A", "B"])
    assert (found[1]["B"].astype(np.float32) == features[1]["B"]).all()


def changed(tmp_path, features, row: int, column: int, value: str):
    """The table with one cell changed."""
    write_features(tmp_path / "f.csv", features)
    lines = [line.split(",") for line in (tmp_path / "f.csv").read_text().splitlines()]
    lines[row][column] = value
    (tmp_path / "f.csv").write_text("\n".join(",".join(cells) for cells in lines) + "\n")
    return tmp_path / "f.csv"


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [(5, "", "f0003"), (5, "inf", "f0003"), (1, "3", "reading"), (0, "A", "patient_id")],
)
def test_faults_are_named_by_row_and_column(tmp_path, features, column, value, fault):
    """An empty cell, an infinite one, an unknown reading and a patient who is there twice."""
    path = changed(tmp_path, features, 2, column, value)
    with pytest.raises(CohortFaults) as raised:
        read_features(path, ["A"])
    assert (3, fault) in [(one.row, one.column) for one in raised.value.faults]


def test_a_word_among_the_numbers_is_a_sentence(tmp_path, features):
    """Text in a feature column is named by its cell."""
    with pytest.raises(CohortFaults, match="'n/k' is not a finite number"):
        read_features(changed(tmp_path, features, 1, 9, "n/k"), ["A", "B"])


def test_a_patient_without_features_is_a_fault(tmp_path, features):
    """Every patient of the cohort must be there."""
    write_features(tmp_path / "f.csv", features)
    with pytest.raises(CohortFaults, match="'C'"):
        read_features(tmp_path / "f.csv", ["A", "B", "C"])


def test_a_second_reading_alone_is_a_fault(tmp_path, features):
    """The first reading is what models are made of: a patient who has only the second one has no features."""
    path = changed(tmp_path, features, 2, 1, "2")
    with pytest.raises(CohortFaults, match="no first reading of patient 'B'") as raised:
        read_features(path, ["A", "B"])
    assert len(raised.value.faults) == 1


@pytest.mark.parametrize("text", ["", "patient_id,f1\nA,2\n", "name," + ",".join(["x"] * 2048) + "\n"])
def test_what_is_no_feature_table_is_one_sentence(tmp_path, text):
    """An empty file, too few columns, no patient_id."""
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(BadRequest, match=r"f\.csv"):
        read_features(path, [])
