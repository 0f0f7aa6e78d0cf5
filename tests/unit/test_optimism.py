"""Optimism by bootstrap: none where there is nothing to fit to, much where there is only noise."""

from __future__ import annotations

import numpy as np
import pytest

from prognode.errors import NotEstimable
from prognode.statistics.optimism import Judged, cox_optimism, draws, summarised
from prognode.statistics.outcome import Outcome, outcome


def cohort(n: int, effect: float, noise: int, seed: int = 1) -> tuple[np.ndarray, Outcome]:
    """One covariate with an effect and some without."""
    random = np.random.default_rng(seed)
    covariates = random.standard_normal((n, 1 + noise))
    death = random.exponential(20, n) / np.exp(effect * covariates[:, 0])
    censored = random.uniform(5, 60, n)
    return covariates, outcome(np.minimum(death, censored), death <= censored)


def test_noise_is_more_optimistic_than_signal():
    """Fifteen covariates of noise on 60 patients look good on them; a strong one on 400 patients looks as it is."""
    noisy = cox_optimism(*cohort(60, 0.0, 14), 100, 1)
    solid = cox_optimism(*cohort(400, 1.5, 0), 100, 1)
    assert noisy.optimism > 0.08
    assert noisy.corrected == pytest.approx(0.5, abs=0.08)
    assert noisy.slope < 0.6
    assert abs(solid.optimism) < 0.01
    assert solid.slope == pytest.approx(1.0, abs=0.05)


def test_the_seed_decides():
    """The same seed gives the same number, another one another."""
    data = cohort(80, 1.0, 2)
    assert cox_optimism(*data, 20, 3) == cox_optimism(*data, 20, 3)
    assert cox_optimism(*data, 20, 3) != cox_optimism(*data, 20, 4)


def test_draws_are_with_replacement_and_all_different():
    """Each draw has as many patients as there are, some of them twice."""
    drawn = list(draws(50, 10, 1))
    assert all(len(one) == 50 and one.min() >= 0 and one.max() < 50 for one in drawn)
    assert all(len(set(one.tolist())) < 50 for one in drawn)
    assert len({tuple(one) for one in drawn}) == 10


def test_draws_without_a_model_are_counted_and_not_averaged():
    """A draw that gave no model is reported, not taken for a C of zero."""
    found = summarised(0.8, [Judged(0.9, 0.7, 0.5), None, Judged(0.8, 0.7, float("nan"))])
    assert (found.draws, found.failed) == (2, 1)
    assert found.optimism == pytest.approx(0.15)
    assert found.corrected == pytest.approx(0.65)
    assert found.slope == 0.5


def test_without_any_model_there_is_a_sentence():
    """All draws failed: there is no optimism to tell."""
    with pytest.raises(NotEstimable, match="no bootstrap draw"):
        summarised(0.8, [None, None])
