"""The tables of a report as a whole: text only, the same bytes each time, and words where there is no number."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import laboratory
import numpy as np
import pytest

from training.report.labels import SYNTHETIC_NOTE
from training.report.tables import all_tables, write_tables
from training.study import Study

TRAINING_ONLY = {
    "table_2_hazard_ratios",
    "schoenfeld",
    "backward_selection",
    "icc",
    "lasso",
    "optimism",
}
KEYS = (
    "flow",
    "left_out",
    "table_1_baseline",
    "table_2_hazard_ratios",
    "schoenfeld",
    "backward_selection",
    "icc",
    "lasso",
    "signature_features",
    "models",
    "model_summary",
    "table_3_performance",
    "concordance_differences",
    "optimism",
    "calibration",
    "calibration_summary",
    "roc",
    "brier",
    "table_4_risk_groups",
    "beside_the_paper",
)


def require_words(study: Study) -> None:
    """Every cell is text, no cell is a NaN, every table has a row or says why not."""
    for table in all_tables(study):
        assert table.frame.columns.is_unique, table.key
        cells = table.frame.to_numpy().ravel().tolist()
        assert all(isinstance(one, str) for one in cells), table.key
        assert not [one for one in cells if one.lower() in {"nan", "none", "inf"}], table.key
        assert not [one for one in cells if "nan" in one.lower().split()], table.key
        assert len(table.frame) or len(table.notes) > 1, table.key


def test_tables_come_in_the_order_of_the_report():
    """The keys are file names, in the order in which a reader meets the tables."""
    assert tuple(table.key for table in all_tables(laboratory.ordinary_study())) == KEYS


def test_every_table_of_synthetic_data_says_so():
    """Nobody takes a number from a synthetic cohort for a result."""
    assert all(table.notes[-1] == SYNTHETIC_NOTE for table in all_tables(laboratory.ordinary_study()))


def test_real_data_carry_no_mark_and_no_comparison_with_the_paper():
    """A study of real patients stands by itself."""
    study = laboratory.ordinary_study()
    real = replace(study, provenance=replace(study.provenance, synthetic=False))
    tables = all_tables(real)
    assert "beside_the_paper" not in {table.key for table in tables}
    assert not [table.key for table in tables if SYNTHETIC_NOTE in table.notes]


def test_an_ordinary_study_is_text():
    """No number reaches the page unwritten."""
    require_words(laboratory.ordinary_study())


def test_the_same_study_gives_the_same_bytes(tmp_path):
    """Files can be compared between runs."""
    written = []
    for place, name in enumerate(("first", "second")):
        if place:
            laboratory.ordinary_study.cache_clear()
        folder = tmp_path / name
        folder.mkdir()
        paths = write_tables(all_tables(laboratory.ordinary_study()), folder)
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]


def test_files_hold_the_cells_and_nothing_else(tmp_path):
    """A program reads from a CSV file what a person reads from the page."""
    tables = all_tables(laboratory.ordinary_study())
    for table, path in zip(tables, write_tables(tables, tmp_path), strict=True):
        assert path.name == f"{table.key}.csv"
        assert b"\r" not in path.read_bytes()
        header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        assert header == list(table.frame.columns)
        assert rows == table.frame.to_numpy().tolist()


def test_a_validated_recipe_has_the_tables_that_need_no_training():
    """What only training can know is absent; the rest is there."""
    study = laboratory.validation_of(laboratory.ordinary_study())
    assert tuple(table.key for table in all_tables(study)) == tuple(
        key for key in KEYS if key not in TRAINING_ONLY
    )
    require_words(study)


def _places(name: str) -> np.ndarray:
    return np.flatnonzero(np.array(laboratory.cohorts_of()) == name)


def _external_of(size: int) -> Study:
    kept = np.concatenate([_places("training"), _places("internal"), _places("external")[:size]])
    cohorts = tuple(laboratory.cohorts_of()[place] for place in kept)
    return laboratory.study_of(laboratory.patients().of(kept), cohorts, bootstrap=0)


def _without_variation(*phases: str) -> Study:
    sample = laboratory.patients()
    features = {phase: values * (phase not in phases) for phase, values in sample.features.items()}
    return laboratory.study_of(replace(sample, features=features), bootstrap=2)


def _no_model() -> Study:
    sample = laboratory.patients()
    features = {phase: np.zeros_like(values) for phase, values in sample.features.items()}
    return laboratory.study_of(replace(sample, features=features, covariates=sample.covariates[[]]))


def _fate(change) -> Study:
    sample = laboratory.patients()
    months, event = change(sample.outcome.time, sample.outcome.event)
    return laboratory.study_of(laboratory.with_outcome(sample, months, event), bootstrap=0)


def _covariate(name: str, change) -> Study:
    sample = laboratory.patients()
    values = change(sample.covariates[name].to_numpy(object).copy())
    if name == "age":
        values = values.astype(float)
    return laboratory.study_of(laboratory.with_covariate(sample, name, values), bootstrap=0)


def _blank(places, value):
    def change(values):
        values[places] = value
        return values

    return change


POOR = {
    "no bootstrap": lambda: laboratory.study_of(laboratory.patients(), bootstrap=0),
    "no second reading": lambda: laboratory.study_of(replace(laboratory.patients(), second={}), bootstrap=0),
    "one phase says nothing": lambda: _without_variation("venous"),
    "no model": _no_model,
    "nobody died": lambda: _fate(lambda months, event: (months, np.zeros_like(event))),
    "everybody died": lambda: _fate(lambda months, event: (months, np.ones_like(event))),
    "times in whole years": lambda: _fate(lambda months, event: (np.ceil(months / 12) * 12, event)),
    "all followed equally long": lambda: _fate(lambda months, event: (np.full_like(months, 70), event)),
    "nobody followed to the horizon": lambda: _fate(lambda months, event: (months / 4, event)),
    "three in one cohort": lambda: _external_of(3),
    "one in one cohort": lambda: _external_of(1),
    "a cohort without patients": lambda: _external_of(0),
    "a covariate missing in a cohort": lambda: _covariate("m_stage", _blank(_places("external"), None)),
    "a factor missing in every patient": lambda: _covariate("sex", _blank(slice(None), None)),
    "a number missing in every patient": lambda: _covariate("age", _blank(slice(None), np.nan)),
    "a constant factor": lambda: _covariate("m_stage", _blank(slice(None), "M0")),
    "four train": lambda: laboratory.study_of(
        laboratory.patients().of(np.arange(6)), ("training",) * 4 + ("external",) * 2
    ),
}


@pytest.mark.parametrize("case", POOR)
def test_poor_data_give_words(case):
    """Whatever is missing, tables are made and say what is not known."""
    study = POOR[case]()
    require_words(study)
    assert len(all_tables(study)) == len(KEYS)
