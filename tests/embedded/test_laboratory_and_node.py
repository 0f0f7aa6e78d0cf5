"""Training and serving are one computation: what the laboratory predicts for a patient is what the node reports."""

from __future__ import annotations

import csv
import json

import pytest
from node import NodeHere, node_and_pacs, prognode, read, said_of, stored_report
from node import test_model as stand_in_network

from training.synthetic_cohort import draw_patients
from training.synthetic_cohort_files import Plan, write_cohort

SIZES = {"training": 44, "internal": 4, "external": 4}
PLAN = Plan(seed=1, slices=30, matrix=128)
PATIENTS = ("SYN-001", "SYN-050")
"""One that trained the recipe and one that it never saw."""


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A small synthetic cohort on disk."""
    return write_cohort(draw_patients(1, SIZES, 8), PLAN, tmp_path_factory.mktemp("cohort"), workers=2)


@pytest.fixture(scope="module")
def trained(cohort, tmp_path_factory):
    """Recipe and report that ``prognode train`` makes of it."""
    out = tmp_path_factory.mktemp("trained")
    arguments = ("train", cohort, "--out", out, "--extractor", stand_in_network().extractor)
    chosen = ("--bootstrap", "0", "--clinical-terms", "ki67_percent,longest_diameter_mm,m_stage")
    ended = prognode(*arguments, *chosen)
    assert ended.status == 0, ended.errors
    return out


def rows(path) -> list[dict[str, str]]:
    """A CSV file by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("patient", PATIENTS)
def test_the_node_reports_what_the_laboratory_predicted(cohort, trained, tmp_path, patient):
    """A study of the cohort goes to a running node: linear predictor, survival, risk group and signatures are equal."""
    folder = cohort.parent / patient
    items = [read(path.read_bytes()) for path in sorted(folder.rglob("*.dcm"))]
    (row,) = (row for row in rows(cohort) if row["patient_id"] == patient)
    (tmp_path / "clinical.csv").write_text(
        "patient_id,ki67,m_stage,diameter_mm\n"
        f"{items[0].PatientID},{row['ki67_percent']},{row['m_stage']},{row['longest_diameter_mm']}\n"
    )
    served = {"recipe": str(trained / "recipe.json"), "extractor": str(stand_in_network().extractor)}
    with node_and_pacs(tmp_path, threads=2, clinical_csv="clinical.csv", **served) as (node, pacs):
        node.send(items)
        (report,) = pacs.wait_reports()
        said = prognosis_of(node, report)
    expected = {
        one["model"]: one for one in rows(trained / "predictions.csv") if one["patient_id"] == patient
    }
    combined = expected["combined"]
    assert said_of(report) == {"status": "final"}
    assert said["linear_predictor"] == float(combined["linear_predictor"])
    assert dict(map(tuple, said["survival"])) == {
        36: float(combined["survival_36"]),
        60: float(combined["survival_60"]),
    }
    assert said["risk_group"] == combined["risk_group"]


def prognosis_of(node: NodeHere, report) -> dict:
    """The prognosis that stands behind a report."""
    return stored_report(node, str(report.SOPInstanceUID))["prognosis"]


def test_a_whole_study_gives_the_features_of_its_phases(cohort, trained, tmp_path):
    """A table that names studies lets the node's own rules find phases and contours: the features are the same."""
    table = tmp_path / "by_study.csv"
    lines = ["patient_id,cohort,study,months,event"]
    lines += [
        f"{row['patient_id']},{row['cohort']},{cohort.parent / row['patient_id']},{row['months']},{row['event']}"
        for row in rows(cohort)[:3]
    ]
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    ended = prognode("train", table, "--out", out, "--extractor", stand_in_network().extractor)
    assert ended.status == 2
    assert "no recipe" in ended.errors
    for phase in ("arterial", "venous"):
        by_folders = {
            (row["patient_id"], row["reading"]): row for row in rows(trained / f"features_{phase}.csv")
        }
        by_study = rows(out / f"features_{phase}.csv")
        assert len(by_study) == 3
        for row in by_study:
            assert row == by_folders[row["patient_id"], "1"]


def test_features_from_tables_give_the_same_recipe(cohort, trained, tmp_path):
    """The tables that the first run left are taken instead of images: signatures and models are the same numbers."""
    tables = [f"--features-{phase}" for phase in ("arterial", "venous")]
    files = [trained / "features_arterial.csv", trained / "features_venous.csv"]
    given = [part for pair in zip(tables, files, strict=True) for part in pair]
    chosen = ("--bootstrap", "0", "--clinical-terms", "ki67_percent,longest_diameter_mm,m_stage")
    network = ("--extractor", stand_in_network().extractor)
    ended = prognode("train", cohort, "--out", tmp_path, *network, *given, *chosen)
    assert ended.status == 0, ended.errors
    first, second = (json.loads((folder / "recipe.json").read_text()) for folder in (trained, tmp_path))
    for part in ("signatures", "models", "reference_cases"):
        assert first[part] == second[part]
    assert first["training"]["data_sha256"] == second["training"]["data_sha256"]
