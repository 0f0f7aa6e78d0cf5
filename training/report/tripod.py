"""A TRIPOD+AI checklist filled from the run (Collins et al., BMJ 2024;385:e078378), with what only a person knows left open.

The items are named here in our own words; the statement itself says what each asks for. What the run knows is written
in; what it cannot know is marked, so that nobody takes an empty line for a done one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from training.covariates import covariate
from training.estimates import NotKnown
from training.sample import known_covariates
from training.study import Study

FOR_A_PERSON = "FOR A PERSON TO FILL IN"
Fill = Callable[[Study], str]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist."""

    number: str
    asks: str
    answer: str
    by_person: bool
    """Whether only a person can answer, or complete the answer."""


@dataclass(frozen=True, slots=True)
class _Asked:
    number: str
    asks: str
    fill: Fill | None = None
    person: str = ""
    """What a person must add; empty where the run's answer is whole."""


def checklist(study: Study) -> tuple[Item, ...]:
    """Every item, answered as far as the run can."""
    return tuple(_item(asked, study) for asked in ITEMS)


def _item(asked: _Asked, study: Study) -> Item:
    known = asked.fill(study) if asked.fill else ""
    open_part = f"{FOR_A_PERSON}: {asked.person}" if asked.person else ""
    return Item(
        asked.number, asked.asks, " ".join(part for part in (known, open_part) if part), bool(open_part)
    )


# ---------------------------------------------------------------- what the run knows


def _cohorts(study: Study) -> str:
    return "; ".join(
        f"{name} {len(sample)} patients, {sample.outcome.events} deaths"
        for name, sample in study.samples.items()
    )


def _objective(study: Study) -> str:
    kind = "development and validation" if study.trained else "validation of a finished model"
    return f"This run: {kind} of a prognostic model of overall survival from two CT phases and clinical covariates."


def _eligibility(study: Study) -> str:
    gone = study.provenance.left_out
    return f"{len(gone)} patients of the table were left out because their images could not be evaluated (see the flow)."


def _preparation(study: Study) -> str:
    remarks = "; ".join(study.provenance.remarks)
    return (
        f"Features {study.provenance.features}: three 1 mm slices with the largest tumour area, 224 x 224 mm, cubic "
        f"B-spline, ResNet-50 with global max pooling.{' ' + remarks + '.' if remarks else ''}"
    )


def _outcome(study: Study) -> str:
    months = " and ".join(str(one) for one in study.settings.horizons_months)
    return f"Overall survival in months of 30 days, predicted at {months} months."


def _predictors(study: Study) -> str:
    sample = next(iter(study.samples.values()))
    known = ", ".join(one.label for one in known_covariates(sample))
    chosen = [f"{len(signature.indices)} {phase} features" for phase, signature in study.signatures.items()]
    return f"Candidates: 2048 features per phase and {known}. Used: {' and '.join(chosen) or 'no feature'}."


def _definitions(study: Study) -> str:
    sample = next(iter(study.samples.values()))
    return "Codes and units as in the cohort table: " + ", ".join(
        covariate(str(name)).name for name in sample.covariates
    )


def _size(study: Study) -> str:
    if study.trained is None:
        return _cohorts(study) + "."
    events = study.trained.sample.outcome.events
    terms = len(study.models["combined"].terms) if "combined" in study.models else 0
    ratio = (
        f"{events / terms:.1f} deaths per coefficient of the combined model" if terms else "no combined model"
    )
    return f"{_cohorts(study)}. {ratio}; selection among 2048 features per phase is not counted in that."


def _missing(study: Study) -> str:
    parts = []
    for name, sample in study.samples.items():
        lacking = {column: int(sample.covariates[column].isna().sum()) for column in sample.covariates}
        told = ", ".join(f"{column} {count}" for column, count in lacking.items() if count)
        parts.append(f"{name}: {told or 'none'}")
    return f"Missing values: {'; '.join(parts)}. Patients who lack a term of a model are left out of it; no imputation."


def _partition(study: Study) -> str:
    return f"Cohorts: {study.provenance.split}. Internal and external patients took no part in any training step."


def _handling(_study: Study) -> str:
    return "Covariates enter as they are (linear in the log hazard); factors by treatment contrasts; no dichotomy."


def _building(study: Study) -> str:
    if study.trained is None:
        return "The model was finished before; nothing was fitted to these patients."
    s = study.settings
    chosen = "chosen beforehand" if s.clinical_terms is not None else "backward elimination by AIC"
    return (
        f"{s.icc_form} > {s.icc_threshold:g} over a second reading, LASSO-Cox per phase with lambda.{s.lambda_rule} by "
        f"{s.folds}-fold cross-validated partial likelihood, clinical covariates {chosen}, Cox models (Efron ties), "
        f"cutoff by {s.cutoff}, seed {s.seed}; optimism by {s.bootstrap} bootstrap repetitions of all of it."
    )


def _measures(_study: Study) -> str:
    return (
        "Harrell's C, hazard ratios (named), log-rank, Heagerty's ROC (KM and NNE), IPCW AUC, calibration in groups and "
        "slope, observed/expected, Brier score, decision curves."
    )


def _software(_study: Study) -> str:
    return "Prognode (Apache-2.0); library versions and seed stand in the recipe."


def _output(study: Study) -> str:
    cutoffs = "; ".join(f"{name} above {model.cutoff.value:.3f}" for name, model in study.models.items())
    return f"Survival probabilities and a risk group, high above a locked cutoff of the linear predictor: {cutoffs}."


def _differences(_study: Study) -> str:
    return "Table 1 compares the cohorts; a validation adds a drift table of covariates, signatures and features."


def _flow(_study: Study) -> str:
    return "Patient flow, Table 1, and median follow-up by reverse Kaplan-Meier are in the report."


def _specification(study: Study) -> str:
    return (
        f"All coefficients, baseline hazards and cutoffs stand in recipe.json ({len(study.models)} models)."
    )


def _performance(study: Study) -> str:
    said = []
    for cohort, evaluation in study.evaluations.items():
        if isinstance(evaluation, NotKnown) or "combined" not in evaluation.models:
            continue
        found = evaluation.models["combined"].concordance
        if not isinstance(found, NotKnown):
            low, high = found.limits()
            said.append(f"{cohort} C {found.value:.2f} ({low:.2f} to {high:.2f})")
    return f"Combined model: {'; '.join(said) or 'not estimable'}; Table 3 and the figures have the rest."


def _sharing(_study: Study) -> str:
    return "The recipe holds no data of a single patient and can be shared by itself."


def _input_quality(_study: Study) -> str:
    return "The node refuses what cannot be evaluated with a coded reason and gives a preliminary result while a covariate is missing."


ITEMS: tuple[_Asked, ...] = (
    _Asked("1", "Title: model development or evaluation, population, outcome", None, "the title"),
    _Asked("2", "Abstract by TRIPOD+AI for abstracts", None, "the abstract"),
    _Asked("3a", "Health problem and why a model, with earlier models", None, "background"),
    _Asked("3b", "For whom and for which decision the model is meant", None, "intended use and users"),
    _Asked("3c", "Known inequalities in health between groups", None, "what is known of them"),
    _Asked("4", "Objectives", _objective, ""),
    _Asked(
        "5a",
        "Sources of the data, and why they are representative",
        _cohorts,
        "source and representativeness",
    ),
    _Asked("5b", "Dates of accrual and end of follow-up", _flow, "calendar dates"),
    _Asked("6a", "Setting: centres, countries", None, "centres"),
    _Asked("6b", "Eligibility criteria", _eligibility, "inclusion and exclusion criteria"),
    _Asked("6c", "Treatments received", None, "treatments, and how they were handled"),
    _Asked("7", "Data preparation and quality checks, the same for all groups", _preparation, ""),
    _Asked("8a", "Outcome, horizon, how and when assessed", _outcome, "how deaths were ascertained"),
    _Asked("8b", "Who assessed the outcome", None, "qualification of assessors"),
    _Asked("8c", "Blinding of outcome assessment", None, "whether assessors knew the predictors"),
    _Asked("9a", "How predictors were chosen before modelling", _predictors, "why these candidates"),
    _Asked(
        "9b", "Definition of every predictor, how and when measured", _definitions, "how each was measured"
    ),
    _Asked("9c", "Who assessed predictors that need interpretation", None, "readers, experience, blinding"),
    _Asked("10", "Sample size, and how it was arrived at", _size, "a sample size calculation"),
    _Asked("11", "Missing data and how they were handled", _missing, "reasons for missing values"),
    _Asked("12a", "How data were used: partition", _partition, ""),
    _Asked("12b", "How predictors were handled: form, scaling", _handling, ""),
    _Asked("12c", "Type of model, all steps of building, internal validation", _building, ""),
    _Asked("12d", "Differences between clusters (hospitals)", _differences, "expected heterogeneity"),
    _Asked("12e", "Measures of performance, and how models were compared", _measures, ""),
    _Asked("12f", "Updating after evaluation", lambda _: "Nothing was updated.", ""),
    _Asked("12g", "How predictions were made in evaluation (code, formula)", _software, ""),
    _Asked("13", "Class imbalance methods", lambda _: "Not used: a Cox model needs none.", ""),
    _Asked("14", "Fairness: what was done", None, "groups of interest and results in them"),
    _Asked("15", "Output of the model, and thresholds", _output, "why such risk groups"),
    _Asked(
        "16", "Differences between development and evaluation data", _differences, "in setting and criteria"
    ),
    _Asked("17", "Ethics committee and consent", None, "approval and consent"),
    _Asked("18a", "Funding", None, "funders and their role"),
    _Asked("18b", "Conflicts of interest", None, "of every author"),
    _Asked("18c", "Protocol", None, "where it can be read"),
    _Asked("18d", "Registration", None, "register and number"),
    _Asked("18e", "Availability of data", _sharing, "availability of patient data"),
    _Asked("18f", "Availability of code", _software, ""),
    _Asked("19", "Involvement of patients and the public", None, "any involvement"),
    _Asked("20a", "Flow of participants, follow-up", _flow, ""),
    _Asked("20b", "Characteristics of participants", _flow, ""),
    _Asked("20c", "Development against evaluation data in the predictors", _differences, ""),
    _Asked("21", "Participants and events in each analysis", _cohorts, ""),
    _Asked("22", "The full model, so that others can predict with it", _specification, ""),
    _Asked("23a", "Performance with confidence intervals", _performance, "in groups of interest"),
    _Asked(
        "23b", "Heterogeneity of performance between clusters", _performance, "between centres, if several"
    ),
    _Asked("24", "Results of updating", lambda _: "Nothing was updated.", ""),
    _Asked("25", "Interpretation, with fairness and earlier studies", None, "interpretation"),
    _Asked("26", "Limitations", None, "limitations, beyond those the report states"),
    _Asked("27a", "How poor or missing input is handled in use", _input_quality, ""),
    _Asked("27b", "What users must do and know", None, "interaction and expertise"),
    _Asked("27c", "Next steps of research", None, "next steps"),
)
"""Numbers as in the statement."""
