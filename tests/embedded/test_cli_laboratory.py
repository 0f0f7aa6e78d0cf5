"""``prognode train`` and ``prognode validate``: what they leave, what they say, and what they refuse."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from command_line import require_sentence
from laboratory import cohorts_of, ordinary_study, patients
from node import prognode
from node import test_model as stand_in_network

from training.cohort import PHASES
from training.feature_tables import write_features
from training.synthetic_cohort import draw_patients
from training.synthetic_cohort_files import Plan, write_cohort

QUICK = ("--bootstrap", "3", "--folds", "4")
FIGURES = {
    "figure_1_flow",
    "figure_3_nomogram",
    "figure_4_kaplan_meier",
    "figure_5_risk_scores",
    "figure_6a_calibration",
    "figure_6b_decision_curves",
    "figure_s1_schoenfeld",
    "figure_s2_roc",
    "figure_lasso",
    "figure_icc",
    "figure_optimism",
}
TABLES = {
    "table_1_baseline",
    "table_2_hazard_ratios",
    "table_3_performance",
    "table_4_risk_groups",
    "schoenfeld",
    "optimism",
    "calibration",
    "roc",
    "brier",
    "beside_the_paper",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A cohort table and feature tables of random patients; returns the arguments that name them."""
    folder = tmp_path_factory.mktemp("given")
    sample, names = patients(), [str(name) for name in patients().covariates]
    with (folder / "cohort.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["patient_id", "cohort", "hospital", "months", "event", *names])
        for place, (patient, cohort) in enumerate(zip(sample.ids, cohorts_of(), strict=True)):
            values = [sample.covariates[name].iloc[place] for name in names]
            time, event = sample.outcome.time[place], int(sample.outcome.event[place])
            rows.writerow([patient, cohort, "SYNTHETIC-A", repr(float(time)), event, *values])
    arguments: list[object] = [folder / "cohort.csv"]
    for phase in PHASES:
        table = {
            1: dict(zip(sample.ids, sample.features[phase].astype(np.float32), strict=True)),
            2: {
                patient: row.astype(np.float32)
                for patient, row in zip(sample.ids, sample.second[phase], strict=True)
                if np.isfinite(row).all()
            },
        }
        write_features(folder / f"{phase}.csv", table)
        arguments += [f"--features-{phase}", folder / f"{phase}.csv"]
    return arguments


def train(given, out, *more):
    """Run the command."""
    network = ("--extractor", stand_in_network().extractor)
    return prognode("train", *given, "--out", out, *network, *QUICK, *more)


@pytest.fixture(scope="module")
def trained(given, tmp_path_factory):
    """What one training leaves."""
    out = tmp_path_factory.mktemp("trained")
    ended = train(given, out)
    assert (ended.status, ended.errors) == (0, "")
    return out


def test_training_leaves_recipe_report_tables_figures_card_and_checklist(trained):
    """Every figure and table of the paper comes out of one command."""
    assert {path.stem for path in (trained / "figures").glob("*.svg")} >= FIGURES
    assert {path.stem for path in (trained / "tables").glob("*.csv")} >= TABLES
    for name in ("recipe.json", "report.html", "model_card.md", "tripod_ai.csv", "predictions.csv"):
        assert (trained / name).stat().st_size > 1000
    assert prognode("recipe", "show", trained / "recipe.json").status == 0
    verified = prognode(
        "recipe", "verify", trained / "recipe.json", "--extractor", stand_in_network().extractor
    )
    assert verified.status == 0


def test_the_report_holds_everything_and_loads_nothing(trained):
    """Each table and figure is in the page; no script, style, font or image comes from elsewhere."""
    page = (trained / "report.html").read_text(encoding="utf-8")
    for key in FIGURES | TABLES:
        assert f'id="{key}"' in page
    assert "<script" not in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", page)
    assert not re.search(r"@import|url\((?!#)", page)


def test_everything_says_that_it_is_synthetic_and_for_research(trained):
    """A hospital called SYNTHETIC has no patients: page, card, recipe and every figure say so."""
    page = (trained / "report.html").read_text(encoding="utf-8")
    recipe = json.loads((trained / "recipe.json").read_text())
    assert "SYNTHETIC DATA" in page
    assert "Research use only" in page
    assert "synthetic patients" in (trained / "model_card.md").read_text()
    assert recipe["demonstration"] is True
    assert any("synthetic" in notice for notice in recipe["notices"])
    for figure in (trained / "figures").glob("*.svg"):
        assert "synthetic" in figure.read_text().lower(), figure.name


def test_two_runs_give_the_same_files_byte_for_byte(given, trained, tmp_path):
    """Recipe, report, tables and figures of a second run are those of the first."""
    assert train(given, tmp_path).status == 0
    names = [path.relative_to(trained) for path in sorted(trained.rglob("*")) if path.is_file()]
    assert len(names) > 30
    for name in names:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def test_the_checklist_marks_what_only_a_person_can_fill(trained):
    """Known items are answered with this run's numbers; the others say who must answer."""
    with (trained / "tripod_ai.csv").open(encoding="utf-8") as file:
        items = {row["item"]: row["answer"] for row in csv.DictReader(file)}
    assert len(items) == 52
    assert items["17"].startswith("FOR A PERSON TO FILL IN")
    assert "FOR A PERSON" not in items["12c"]
    assert "training 64 patients" in items["21"]
    assert all(items.values())


def test_the_predictions_are_those_of_the_models(trained):
    """One row a patient and model; the combined model's are what the study computed."""
    with (trained / "predictions.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "combined"]
    assert len(rows) == len(patients())
    assert {row["risk_group"] for row in rows} == {"high", "low"}
    judged = ordinary_study().evaluations["training"].models["combined"]
    found = [float(row["linear_predictor"]) for row in rows if row["cohort"] == "training"]
    # the tables hold float32 features, the study beside them float64
    assert np.corrcoef(found, judged.lp)[0, 1] > 0.999


# ---------------------------------------------------------------- validation


@pytest.fixture(scope="module")
def validated(given, trained, tmp_path_factory):
    """The recipe on the same table."""
    out = tmp_path_factory.mktemp("validated")
    ended = prognode("validate", trained / "recipe.json", *given, "--out", out)
    assert (ended.status, ended.errors) == (0, "")
    return out


def test_validation_with_locked_numbers_finds_what_training_found(trained, validated):
    """The same patients, models and cutoffs give the same predictions to the last digit."""
    first, second = ((folder / "predictions.csv").read_text() for folder in (trained, validated))
    assert sorted(first.splitlines()) == sorted(second.splitlines())


def test_validation_has_the_evaluation_and_a_drift_table(validated):
    """Performance, curves, calibration, ROC, decision curves; and how the cohort differs from training."""
    page = (validated / "report.html").read_text(encoding="utf-8")
    for key in ("table_3_performance", "figure_4_kaplan_meier", "figure_6a_calibration", "figure_s2_roc"):
        assert f'id="{key}"' in page
    assert "Validation of a locked recipe" in page
    with (validated / "tables" / "drift_training.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["Standardised difference"] for row in rows if row["Kind"] == "covariate"} <= {
        "+0.00",
        "-0.00",
    }
    assert (validated / "tables" / "drift_external.csv").exists()
    assert not (validated / "recipe.json").exists()


# ---------------------------------------------------------------- refusals


def test_every_fault_of_the_table_is_printed_before_anything_is_computed(given, tmp_path):
    """Three faults in two rows: three lines, exit 2, no file."""
    lines = given[0].read_text().splitlines()
    lines[1] = lines[1].replace(",training,", ",somewhere,")
    cells = lines[5].split(",")
    cells[3], cells[4] = "long", "2"
    lines[5] = ",".join(cells)
    (tmp_path / "faulty.csv").write_text("\n".join(lines) + "\n")
    ended = train([tmp_path / "faulty.csv", *given[1:]], tmp_path / "out")
    assert ended.status == 2
    assert "3 faults" in ended.errors
    assert "nothing was computed" in ended.errors
    for word in ("somewhere", "'long' is not a number", "'2' is no outcome"):
        assert word in ended.output
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--lambda", "best"), "min, 1se"),
        (("--icc", "ICC9"), "ICC2"),
        (("--cutoff", "mean"), "max-log-rank"),
        (("--clinical-terms", "age"), "age"),
        (("--clinical-terms", "ki67_percent, m_stage,ki67_percent"), "ki67_percent more than once"),
        (("--training-fraction", "1.5"), "between 0 and 1"),
        (("--icc-threshold", "2"), "between 0 and 1"),
    ],
)
def test_options_that_cannot_be_are_named(given, tmp_path, more, said):
    """A wrong choice is a sentence with the right ones."""
    require_sentence(train(given, tmp_path, *more), said)


def test_one_feature_table_alone_is_refused(given, tmp_path):
    """Both phases or none."""
    ended = prognode("train", *given[:3], "--out", tmp_path)
    require_sentence(ended, "--features-arterial and --features-venous")


@pytest.fixture
def unreadable(tmp_path):
    """A cohort table whose training patient has no image in its folder."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("no image")
    rows = ("patient_id,cohort,study,months,event", "A,training,images,12,1")
    (tmp_path / "unreadable.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "unreadable.csv"


@pytest.mark.parametrize("more", [(), ("--leave-out-not-evaluable",)])
def test_a_training_without_a_patient_is_refused_with_every_reason(unreadable, tmp_path, more):
    """Nobody is left to train on: the way out that would not help is not offered."""
    ended = train([unreadable], tmp_path / "out", *more)
    assert ended.status == 2
    assert ended.errors.endswith(
        "no patient of the training cohort is left without them: mend their images\n"
    )
    assert "the images of 1 patient cannot be evaluated; first: row 2, slices-missing" in ended.errors
    assert "there is no DICOM object in images" in ended.output
    assert not (tmp_path / "out" / "report.html").exists()


def test_who_cannot_be_evaluated_stops_the_run_or_is_left_out(tmp_path):
    """Three patients train, the one who would judge has no image: refused, or gone on without, as the person says."""
    drawn = draw_patients(1, {"training": 4, "external": 4}, 0)
    table = write_cohort([*drawn[:3], drawn[4]], Plan(seed=1, slices=30, matrix=128), tmp_path / "cohort")
    for image in (tmp_path / "cohort" / drawn[4].patient_id / "arterial").iterdir():
        image.write_text("no image")
    refused = train([table], tmp_path / "out")
    assert refused.status == 2
    assert refused.errors.endswith("go on without these patients with --leave-out-not-evaluable\n")
    assert drawn[4].patient_id in refused.output
    ended = train([table], tmp_path / "out", "--leave-out-not-evaluable")
    assert "no recipe: there is no signatures model" in ended.errors
    assert len((tmp_path / "out" / "features_arterial.csv").read_text().splitlines()) == 4


def test_a_validation_without_a_patient_is_refused_with_every_reason(unreadable, trained, tmp_path):
    """Nobody is left to judge."""
    asked = ("validate", trained / "recipe.json", unreadable, "--out", tmp_path / "out")
    network = ("--extractor", stand_in_network().extractor)
    ended = prognode(*asked, *network, "--leave-out-not-evaluable")
    assert ended.status == 2
    assert ended.errors.endswith("no patient is left without them: mend their images\n")
    assert "there is no DICOM object in images" in ended.output


def test_a_draw_that_leaves_nobody_to_train_is_a_sentence(given, tmp_path):
    """A fraction so small that no patient of the development hospital is drawn."""
    require_sentence(
        train(without(given, "cohort", tmp_path), tmp_path, "--training-fraction", "0.001"),
        "nobody would train",
        "raise the training fraction above 0.001",
    )


def test_without_a_signature_there_is_a_report_and_no_recipe(given, tmp_path):
    """Outcomes shuffled among the patients: lambda.1se selects nothing; exit 2, the report says why."""
    lines = given[0].read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    order = np.random.default_rng(5).permutation(len(rows))
    shuffled = [[*row[:3], *rows[other][3:5], *row[5:]] for row, other in zip(rows, order, strict=True)]
    (tmp_path / "null.csv").write_text("\n".join([lines[0], *map(",".join, shuffled)]) + "\n")
    ended = train([tmp_path / "null.csv", *given[1:]], tmp_path / "out", "--lambda", "1se")
    assert ended.status == 2
    assert "no recipe: there is no signatures model" in ended.errors
    assert not (tmp_path / "out" / "recipe.json").exists()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "No recipe came of this run" in page
    assert "selects no" in page


@pytest.fixture(scope="module")
def another_network(tmp_path_factory):
    """Not the network that the recipes of these tests belong to."""
    path = tmp_path_factory.mktemp("another") / "resnet50.onnx"
    assert prognode("weights", "random", "--seed", "2", "--out", path).status == 0
    return path


def test_without_a_network_there_is_a_report_and_no_recipe(given, another_network, tmp_path, monkeypatch):
    """Feature tables can be analysed anywhere; a recipe must name its network, and the one at home is a guess."""
    monkeypatch.setenv("PROGNODE_HOME", str(another_network.parent))
    ended = prognode("train", *given, "--out", tmp_path, *QUICK)
    assert ended.status == 2
    assert "no recipe: no network was given" in ended.errors
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "recipe.json").exists()


def test_a_validation_on_tables_asks_for_no_network(given, trained, another_network, tmp_path, monkeypatch):
    """Whatever network lies at home made none of these features, so it is no reason to refuse them."""
    monkeypatch.setenv("PROGNODE_HOME", str(another_network.parent))
    ended = prognode("validate", trained / "recipe.json", *given, "--out", tmp_path)
    assert (ended.status, ended.errors) == (0, "")


def without(given, column: str, folder):
    """The arguments with a cohort table that lacks a column."""
    lines = [line.split(",") for line in given[0].read_text().splitlines()]
    place = lines[0].index(column)
    shorter = [",".join([*cells[:place], *cells[place + 1 :]]) for cells in lines]
    (folder / "short.csv").write_text("\n".join(shorter) + "\n")
    return [folder / "short.csv", *given[1:]]


def test_no_recipe_of_an_earlier_run_stands_beside_a_new_report(given, tmp_path, monkeypatch):
    """A folder is used again, and this run gives no recipe: whoever takes recipe.json from it must not get the old one."""
    monkeypatch.setenv("PROGNODE_HOME", str(tmp_path / "home"))
    (tmp_path / "recipe.json").write_text("{}")
    assert prognode("train", *given, "--out", tmp_path, *QUICK).status == 2
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "recipe.json").exists()


def test_a_run_that_fails_while_it_trains_leaves_no_earlier_recipe(given, tmp_path):
    """Patients and features were taken, the training failed: what lies there would pass for its result."""
    (tmp_path / "recipe.json").write_text("{}")
    shorter = without(given, "m_stage", tmp_path)
    ended = train(shorter, tmp_path, "--clinical-terms", "m_stage")
    require_sentence(ended, "the table has no m_stage", "leave it out of --clinical-terms")
    assert not (tmp_path / "recipe.json").exists()


def test_a_table_that_is_refused_costs_no_earlier_recipe(given, tmp_path):
    """Nothing was computed, so nothing is taken away."""
    (tmp_path / "recipe.json").write_text("{}")
    shorter = without(given, "event", tmp_path)
    assert train(shorter, tmp_path).status == 2
    assert (tmp_path / "recipe.json").read_text() == "{}"


def test_validation_needs_the_covariates_that_the_models_use(given, trained, tmp_path):
    """A table without M stage cannot be judged by a model that uses it."""
    shorter = without(given, "m_stage", tmp_path)
    recipe = json.loads((trained / "recipe.json").read_text())
    uses = any(term["name"] == "m_stage" for model in recipe["models"].values() for term in model["terms"])
    assert uses, "the recipe of this test uses M stage"
    ended = prognode("validate", trained / "recipe.json", *shorter, "--out", tmp_path)
    require_sentence(ended, "m_stage")


def test_another_network_than_the_recipes_is_refused(given, trained, another_network, tmp_path):
    """Features of another network would give numbers that look like survival."""
    named = ("--extractor", another_network)
    ended = prognode("validate", trained / "recipe.json", *given, *named, "--out", tmp_path / "out")
    require_sentence(ended, "extractor")
