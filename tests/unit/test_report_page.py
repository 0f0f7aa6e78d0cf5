"""The page, the checklist and the model card of studies in which something is missing: words in place of numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from laboratory import cohorts_of, ordinary_study, patients, study_of, validation_of, with_outcome

from training.export import why_no_recipe
from training.report.model_card import model_card
from training.report.tripod import FOR_A_PERSON, checklist
from training.report.write import write_report


def nobody_died():
    """No event in any cohort."""
    sample = patients()
    return study_of(with_outcome(sample, sample.outcome.time, np.zeros(len(sample), np.bool_)), bootstrap=0)


def everybody_died():
    """No censoring at all."""
    sample = patients()
    return study_of(with_outcome(sample, sample.outcome.time, np.ones(len(sample), np.bool_)), bootstrap=0)


def nothing_selected():
    """Outcomes shuffled among the patients, and the stricter penalty."""
    sample, order = patients(), np.random.default_rng(5).permutation(len(patients()))
    shuffled = with_outcome(sample, sample.outcome.time[order], sample.outcome.event[order])
    return study_of(shuffled, lambda_rule="1se", bootstrap=0)


def three_external_patients():
    """An external cohort that determines nothing."""
    chosen = np.array([cohort != "external" for cohort in cohorts_of()])
    chosen[-3:] = True
    return study_of(patients().of(chosen), (*cohorts_of()[:88], *["external"] * 3), bootstrap=0)


def heavy_ties():
    """Follow-up in whole years."""
    sample = patients()
    return study_of(
        with_outcome(sample, np.ceil(sample.outcome.time / 12) * 12, sample.outcome.event), bootstrap=0
    )


def short_follow_up():
    """Nobody is followed for three years."""
    sample = patients()
    short = np.minimum(sample.outcome.time, 20.0 + np.arange(len(sample)) / 100)
    return study_of(
        with_outcome(sample, short, sample.outcome.event & (sample.outcome.time < 20)), bootstrap=0
    )


def covariates_missing_everywhere():
    """A table with outcomes and features only."""
    sample = patients()
    return study_of(replace(sample, covariates=sample.covariates[[]]), bootstrap=0)


STUDIES = {
    "ordinary": ordinary_study,
    "validation": lambda: validation_of(ordinary_study()),
    "nobody died": nobody_died,
    "everybody died": everybody_died,
    "nothing selected": nothing_selected,
    "three external patients": three_external_patients,
    "heavy ties": heavy_ties,
    "short follow-up": short_follow_up,
    "no covariates": covariates_missing_everywhere,
}


@pytest.mark.parametrize("name", list(STUDIES))
def test_a_report_is_written_whatever_is_missing(name, tmp_path):
    """Page, tables, figures, card and checklist; no NaN, None or infinity stands anywhere in it."""
    study = STUDIES[name]()
    write_report(study, tmp_path, why_not=why_no_recipe(study))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    words = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    assert not re.search(r"\b(nan|NaN|None|inf|Infinity)\b", words)
    for table in (tmp_path / "tables").glob("*.csv"):
        assert not re.search(r"\b(nan|None|inf)\b", table.read_text(encoding="utf-8")), table.name
    assert list((tmp_path / "figures").glob("*.svg"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nobody died", "0 deaths"),
        ("nothing selected", "selects no"),
        ("three external patients", "external"),
        ("short follow-up", "60 months"),
        ("no covariates", "no clinical covariate was chosen"),
    ],
)
def test_the_page_says_what_is_missing_and_why(name, said, tmp_path):
    """The first thing on the page is what did not come about."""
    study = STUDIES[name]()
    write_report(study, tmp_path, why_not=why_no_recipe(study))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    problems = " ".join(re.findall(r'<p class="problem">(.*?)</p>', page, re.DOTALL))
    assert said in (problems if name != "three external patients" else page)


def test_a_tag_in_a_cell_is_text():
    """What a table of a hospital holds is never markup."""
    study = ordinary_study()
    named = replace(study, provenance=replace(study.provenance, table="<script>alert(1)</script>.csv"))
    from training.report.page import render
    from training.report.tables import all_tables

    page = render(named, all_tables(named), None, "", "")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_checklist_has_every_item_once_and_marks_the_open_ones():
    """52 numbered items; ethics, funding, treatment are a person's; partition and building are the run's."""
    items = checklist(ordinary_study())
    numbers = [item.number for item in items]
    assert len(numbers) == len(set(numbers)) == 52
    by_number = {item.number: item for item in items}
    for number in ("6c", "17", "18a", "18d", "19"):
        assert by_number[number].by_person
        assert by_number[number].answer.startswith(FOR_A_PERSON)
    for number in ("12a", "12c", "21", "22"):
        assert not by_number[number].by_person
    assert "4 bootstrap repetitions" in by_number["12c"].answer


def test_the_model_card_names_use_data_and_performance():
    """What it is for and not for, and the C of every model and cohort, apparent and corrected."""
    card = model_card(ordinary_study(), None, "", "this is a test")
    for heading in ("## Use", "## Data", "## Training", "## Performance"):
        assert heading in card
    assert "Research use only" in card
    assert "corrected for the optimism of the whole training" in card
    assert "No recipe came of this run: this is a test." in card
