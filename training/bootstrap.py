"""Optimism of the whole training: selection by ICC and LASSO, choice of covariates and Cox fits, all done again.

Validating the final coefficients alone would leave out the largest part: that a few features of thousands were chosen
because they fit these patients.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from prognode.domain.prognosis import Phase
from prognode.domain.signature import Signature
from prognode.errors import NotEstimable
from prognode.statistics.concordance import c_index
from prognode.statistics.cox import fit_cox
from prognode.statistics.cross_validation import Folds, stratified_folds
from prognode.statistics.optimism import Judged, Optimism, cox_optimism, draws, judge, summarised
from prognode.statistics.outcome import Floats, Index
from training.clinical import analyse_clinical
from training.cohort import PHASES
from training.estimates import NotKnown, estimated
from training.models import ModelFit, ModelName, Values, complete_patients, matrix, term_values
from training.sample import Sample
from training.settings import Settings
from training.signatures import build_signature, candidate_features, reproducibility
from training.train import Trained, model_terms


@dataclass(frozen=True)
class Bootstrap:
    """What repeating the training on drawn patients showed."""

    coefficients_only: Mapping[ModelName, Optimism | NotKnown]
    """Terms and signatures stay; only the Cox coefficients are fitted again (``rms::validate``)."""
    whole_training: Mapping[ModelName, Optimism | NotKnown]
    selected: Mapping[Phase, Mapping[int, float]]
    """Share of the draws in which each feature was selected."""
    repetitions: int


@dataclass(frozen=True)
class _Repetition:
    """One draw, trained from the beginning."""

    judged: Mapping[ModelName, Judged]
    selected: Mapping[Phase, tuple[int, ...]]


def bootstrap(trained: Trained, workers: int, on_done: Callable[[], object] = lambda: None) -> Bootstrap:
    """Repeat the training as often as its settings say; the number of workers does not change the result."""
    settings = trained.settings
    repetitions = list(_repetitions(trained, workers, on_done))
    selected = {phase: _shares([one.selected.get(phase, ()) for one in repetitions]) for phase in PHASES}
    return Bootstrap(
        coefficients_only={
            name: estimated(lambda model=model: _coefficients_only(model, settings))  # type: ignore[misc]
            for name, model in trained.fitted.items()
        },
        whole_training={
            name: estimated(lambda name=name: _whole(trained, name, repetitions))  # type: ignore[misc]
            for name in trained.fitted
        },
        selected=selected,
        repetitions=len(repetitions),
    )


def _coefficients_only(model: ModelFit, settings: Settings) -> Optimism:
    return cox_optimism(model.covariates, model.outcome, settings.bootstrap, settings.seed)


def _whole(trained: Trained, name: ModelName, repetitions: Sequence[_Repetition]) -> Optimism:
    model = trained.fitted[name]
    apparent = c_index(model.covariates @ model.fit.coefficients, model.outcome)
    return summarised(apparent, [one.judged.get(name) for one in repetitions])


def _shares(selections: list[tuple[int, ...]]) -> dict[int, float]:
    counted = Counter(feature for chosen in selections for feature in chosen)
    return {feature: count / len(selections) for feature, count in counted.most_common()}


# ---------------------------------------------------------------- the draws


def _repetitions(trained: Trained, workers: int, on_done: Callable[[], object]) -> Iterator[_Repetition]:
    repeat = partial(_repeat, trained.sample, trained.settings)
    drawn = list(draws(len(trained.sample), trained.settings.bootstrap, trained.settings.seed))
    if workers <= 1 or len(drawn) < 2:
        for one in drawn:
            yield repeat(one)
            on_done()
        return
    # the sample travels with every chunk, so chunks are few
    context, chunk = multiprocessing.get_context("spawn"), max(1, len(drawn) // (8 * workers))
    with ProcessPoolExecutor(workers, context) as pool:
        for result in pool.map(repeat, drawn, chunksize=chunk):
            yield result
            on_done()


def _repeat(original: Sample, settings: Settings, drawn: Index) -> _Repetition:
    """Train on a draw and judge on the original patients; a model that does not come about is left out."""
    signatures = _signatures(original.of(drawn), settings, _folds(original, drawn, settings))
    chosen = estimated(lambda: analyse_clinical(original.of(drawn), settings).chosen)
    clinical = () if isinstance(chosen, NotKnown) else chosen
    values = term_values(original, signatures)
    judged: dict[ModelName, Judged] = {}
    for name, terms in model_terms(clinical, tuple(signatures)).items():
        if _comes_about(name, terms, signatures):
            one = estimated(lambda terms=terms: _judged(terms, values, original, drawn))  # type: ignore[misc]
            if not isinstance(one, NotKnown):
                judged[name] = one
    return _Repetition(judged, {phase: signature.indices for phase, signature in signatures.items()})


def _folds(original: Sample, drawn: Index, settings: Settings) -> Folds | None:
    """Copies of a patient share a fold: a fold must not be judged by patients it was trained on. None: too few deaths."""
    patients, copies = np.unique(np.asarray(drawn, np.intp), return_inverse=True)
    try:
        return stratified_folds(original.outcome.of(patients), settings.seed, settings.folds)[copies]
    except NotEstimable:
        return None


def _signatures(sample: Sample, settings: Settings, folds: Folds | None) -> dict[Phase, Signature]:
    found: dict[Phase, Signature] = {}
    if folds is None:
        return found
    for phase in PHASES:
        candidates = candidate_features(sample, phase, reproducibility(sample, phase, settings))
        built = estimated(
            lambda phase=phase, candidates=candidates: build_signature(  # type: ignore[misc]
                sample, phase, candidates, settings, folds, quick=True
            )
        )
        if not isinstance(built, NotKnown) and built[1] is not None:
            found[phase] = built[1]
    return found


def _comes_about(name: ModelName, terms: tuple[str, ...], signatures: Mapping[Phase, Signature]) -> bool:
    """Whether the training would have made this model of such terms."""
    return bool(terms) and (name == "clinical" or len(signatures) == len(PHASES))


def _judged(terms: tuple[str, ...], values: Values, original: Sample, drawn: Index) -> Judged:
    covariates = matrix(values, terms)
    known = complete_patients(values, terms, len(original))
    kept = np.arange(len(original))[drawn]
    kept = kept[known[kept]]
    lp: Floats = covariates @ fit_cox(covariates[kept], original.outcome.of(kept)).coefficients
    return judge(lp[kept], original.outcome.of(kept), lp[known], original.outcome.of(known))
