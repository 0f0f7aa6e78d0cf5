"""Time-dependent ROC curves against plain loops over their formulas, and where there is no curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prognode.errors import NotEstimable
from prognode.statistics.outcome import Outcome, outcome
from prognode.statistics.time_dependent_roc import heagerty_km, heagerty_nne, ipcw_auc

CURVES = [heagerty_km, heagerty_nne]
SIX = outcome([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 1, 1, 0, 1, 0])


@st.composite
def cohorts(draw) -> tuple[Outcome, np.ndarray, int]:
    """Heavily tied times and markers, with somebody followed beyond and somebody dead by the horizon."""
    n = draw(st.integers(4, 30))
    times = np.array(draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)))
    events = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    marker = np.array(draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n)), np.float64)
    horizon = draw(st.integers(1, 8))
    times[0], events[0], times[1] = draw(st.integers(0, horizon)), 1, 9
    return outcome(times, events), marker, horizon


def plain_survival(cohort: Outcome, chosen: np.ndarray, horizon: float) -> float:
    """A product over times of death, one patient after the other."""
    survival = 1.0
    pairs = [(t, e) for t, e, c in zip(cohort.time, cohort.event, chosen, strict=True) if c]
    for time in sorted({t for t, e in pairs if e and t <= horizon}):
        survival *= 1 - sum(t == time and e for t, e in pairs) / sum(t >= time for t, _ in pairs)
    return float(survival)


@settings(deadline=None)
@given(cohorts())
def test_kaplan_meier_curve_by_plain_loops(drawn):
    """At each cut the two shares of the formula, with a curve drawn anew for the patients above it."""
    cohort, marker, horizon = drawn
    everybody = plain_survival(cohort, np.ones(len(marker)), horizon)
    if everybody == 0:
        return
    curve = heagerty_km(marker, cohort, horizon)
    for cut, true, false in zip(curve.cuts, curve.true_positive, curve.false_positive, strict=True):
        above = marker > cut
        survival = plain_survival(cohort, above, horizon)
        assert true == pytest.approx((1 - survival) * above.mean() / (1 - everybody), abs=1e-12)
        assert false == pytest.approx(survival * above.mean() / everybody, abs=1e-12)


@settings(deadline=None)
@given(cohorts(), st.sampled_from([0.05, 0.2, 0.5, 3.0]))
def test_nearest_neighbour_curve_by_plain_loops(drawn, span):
    """Each patient's neighbours are sought one by one; above the highest rank the highest patient is the limit."""
    cohort, marker, horizon = drawn
    n, ranked, given_marker = len(marker), sorted(marker), []
    for value in marker:
        farthest = ranked[min(int((marker < value).sum()) + int(n * span + 0.5), n - 1)]
        near = np.abs(marker - value) <= farthest - value
        given_marker.append(plain_survival(cohort, near, horizon))
    survival = np.array(given_marker)
    curve = heagerty_nne(marker, cohort, horizon, span)
    assert curve.survival == pytest.approx(survival.mean())
    for cut, true, false in zip(curve.cuts, curve.true_positive, curve.false_positive, strict=True):
        above = marker > cut
        assert true == pytest.approx(((1 - survival) * above).mean() / (1 - survival.mean()), abs=1e-12)
        assert false == pytest.approx((survival * above).mean() / survival.mean(), abs=1e-12)


@settings(deadline=None)
@given(cohorts())
def test_nearest_neighbour_curve_is_monotone(drawn):
    """Unlike the Kaplan-Meier one, its shares never rise with the cut and its area is a probability."""
    cohort, marker, horizon = drawn
    curve = heagerty_nne(marker, cohort, horizon)
    assert (np.diff(curve.true_positive) <= 1e-12).all()
    assert (np.diff(curve.false_positive) <= 1e-12).all()
    assert -1e-12 <= curve.auc <= 1 + 1e-12


@given(cohorts())
def test_weighted_area_by_pairs(drawn):
    """Every case with every control, weighted by the probability that the case was seen."""
    cohort, marker, horizon = drawn
    followed = outcome(cohort.time + 0.5 * ~cohort.event, ~cohort.event)  # deaths first: lost a little later
    pairs, won = 0.0, 0.0
    for i in np.flatnonzero(cohort.event & (cohort.time <= horizon)):
        seen = plain_survival(followed, np.ones(len(marker)), cohort.time[i] - 0.25)
        for j in np.flatnonzero(cohort.time > horizon):
            pairs += 1 / seen
            won += ((marker[i] > marker[j]) + 0.5 * (marker[i] == marker[j])) / seen
    assert ipcw_auc(marker, cohort, horizon).auc == pytest.approx(won / pairs, abs=1e-12)


def test_nobody_lost_is_an_ordinary_roc_curve():
    """Without censoring all three give the area of Mann and Whitney, and neighbours of nobody the very curve."""
    cohort = outcome([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], np.ones(6))
    marker = [5.0, 3.0, 4.0, 2.0, 4.0, 1.0]
    cases, controls = [5.0, 3.0, 4.0], [2.0, 4.0, 1.0]
    wins = np.mean([(a > b) + 0.5 * (a == b) for a in cases for b in controls])
    assert heagerty_km(marker, cohort, 3.0).auc == pytest.approx(wins)
    assert heagerty_nne(marker, cohort, 3.0, span=1e-9).auc == pytest.approx(wins)
    assert ipcw_auc(marker, cohort, 3.0).auc == pytest.approx(wins)


@pytest.mark.parametrize("estimate", [*CURVES, ipcw_auc])
def test_only_the_order_of_deaths_and_markers_counts(estimate):
    """A marker that is stretched evenly gives the same area; turned round, a perfect one is the worst."""
    perfect = -SIX.time
    assert estimate(perfect * 7 + 3, SIX, 3.0).auc == pytest.approx(estimate(perfect, SIX, 3.0).auc)
    assert heagerty_km(perfect, SIX, 3.0).auc == pytest.approx(1.0)
    assert ipcw_auc(perfect, SIX, 3.0).auc == 1.0
    assert ipcw_auc(-perfect, SIX, 3.0).auc == 0.0


@pytest.mark.parametrize("estimate", [*CURVES, ipcw_auc])
def test_constant_marker_tells_nothing(estimate):
    """One cut, a diagonal, and an area of one half."""
    assert estimate(np.ones(6), SIX, 3.0).auc == pytest.approx(0.5)


def test_death_at_the_horizon_is_a_case_unless_left_out():
    """The two conventions of R's packages."""
    assert ipcw_auc(-SIX.time, SIX, 3.0).cases == 3
    left_out = ipcw_auc(-SIX.time, SIX, 3.0, "left out")
    assert (left_out.cases, left_out.controls, left_out.lost) == (2, 3, 1)


def test_standard_error_is_that_of_repeated_cohorts():
    """Over 400 simulated cohorts the area scatters as much as its standard error says, to a tenth."""
    random, areas, errors = np.random.default_rng(4), [], []
    for _ in range(400):
        marker = random.normal(size=120)
        death, lost = random.exponential(np.exp(-marker)), random.exponential(2, 120)
        found = ipcw_auc(marker, outcome(np.minimum(death, lost), death <= lost), 0.8)
        areas.append(found.auc)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(areas, ddof=1), rel=0.1)


@pytest.mark.parametrize("estimate", [*CURVES, ipcw_auc])
def test_no_case_is_not_estimable(estimate):
    """Nobody has died by then."""
    with pytest.raises(NotEstimable, match=r"death|dies"):
        estimate(SIX.time, SIX, 0.5)


@pytest.mark.parametrize("estimate", [*CURVES, ipcw_auc])
def test_no_control_is_not_estimable(estimate):
    """Everybody has died by then."""
    with pytest.raises(NotEstimable, match="beyond"):
        estimate([3.0, 2.0, 1.0], outcome([1.0, 2.0, 3.0], [1, 1, 1]), 3.0)


@pytest.mark.parametrize("estimate", [*CURVES, ipcw_auc])
def test_horizon_beyond_follow_up_is_not_estimable(estimate):
    """The last value of a curve is not carried on; nor is there a curve of nobody."""
    with pytest.raises(NotEstimable, match=r"followed to 6\.5"):
        estimate(SIX.time, SIX, 6.5)
    with pytest.raises(NotEstimable, match="followed"):
        estimate([], outcome([], []), 1.0)


@pytest.mark.parametrize("estimate", [*CURVES, ipcw_auc])
@pytest.mark.parametrize("marker", [[1.0, 2.0], [1, 2, 3, 4, 5, np.nan], np.ones((6, 1))])
def test_other_markers_are_refused(estimate, marker):
    """One finite value for each patient."""
    with pytest.raises(ValueError, match="finite"):
        estimate(marker, SIX, 3.0)


@pytest.mark.parametrize("span", [0.0, -0.1, np.nan])
def test_span_must_be_above_zero(span):
    """A span of nothing has no neighbours."""
    with pytest.raises(ValueError, match="span"):
        heagerty_nne(SIX.time, SIX, 3.0, span)
