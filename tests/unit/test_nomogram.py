"""What the nomogram promises, beside agreement with R (tests/golden)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prognode.domain.cox_model import Baseline, CoxModel, Cutoff, Term, survival, survival_curve
from prognode.domain.nomogram import (
    axis_points,
    lp_of_points,
    nomogram_of,
    points_of_lp,
    points_of_survival,
    pretty,
    total_points_ticks,
)


def model_of(*terms: Term) -> CoxModel:
    baseline = Baseline((12.0, 36.0, 48.0), (0.1, 0.25, 0.4), 60.0)
    return CoxModel(terms, baseline, Cutoff(0.0, "none"))


RISK = Term("ki67_percent", "Ki-67", "%", 0.02, (0.0, 50.0, 100.0))
PROTECTS = Term("signature_venous", "Signature", "", -0.5, (-1.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        (1.0, 10.0, tuple(float(tick) for tick in range(1, 11))),
        (-2.324708, 2.477174, (-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5)),
        (5.0, 5.0, (3.0, 4.0, 5.0, 6.0)),
        (0.0, 14.0, tuple(float(tick) for tick in range(15))),
    ],
)
def test_pretty_gives_the_ticks_of_the_rule(low, high, ticks):
    """R's pretty(c(low, high), n = 10), worked by its rule: step 1, 2, 5 or 10 with the biases 1.5 and 2.75."""
    assert pretty(low, high) == ticks


@given(st.floats(-1e3, 1e3), st.floats(1e-2, 1e6))
def test_pretty_covers_the_range_with_few_equal_round_steps(low, width):
    """Whatever the range, the ticks cover it, rise evenly, and are neither few nor many."""
    ticks = pretty(low, low + width)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-9 * step
    assert ticks[-1] >= low + width - 1e-9 * step
    assert 4 <= len(ticks) <= 21
    mantissa = step / 10.0 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5)) < 1e-6


def test_zero_points_lie_at_the_low_risk_end_of_each_axis():
    """A protective variable counts from its high end."""
    nomogram = nomogram_of(model_of(RISK, PROTECTS))
    assert axis_points(nomogram, RISK, 0.0) == 0
    assert axis_points(nomogram, PROTECTS, 1.0) == 0
    assert axis_points(nomogram, PROTECTS, -1.0) == pytest.approx(50.0)


def test_widest_axis_ends_at_a_hundred_points():
    """100 points go to the axis that moves the linear predictor most."""
    assert axis_points(nomogram_of(model_of(RISK, PROTECTS)), RISK, 100.0) == pytest.approx(100.0)


def test_value_beyond_its_axis_gets_points_on_the_same_line():
    """Below 0 or above 100 if need be, so that the total still says what the model says."""
    nomogram = nomogram_of(model_of(RISK, PROTECTS))
    assert axis_points(nomogram, RISK, 150.0) == pytest.approx(150.0)
    assert axis_points(nomogram, PROTECTS, 2.0) == pytest.approx(-25.0)


@given(st.floats(-50, 150), st.floats(-3, 3))
def test_total_of_the_points_is_the_linear_predictor(ki67, signature):
    """Adding points up and reading the linear predictor off gives the model's own."""
    nomogram = nomogram_of(model_of(RISK, PROTECTS))
    total = axis_points(nomogram, RISK, ki67) + axis_points(nomogram, PROTECTS, signature)
    lp = 0.02 * ki67 - 0.5 * signature
    assert lp_of_points(nomogram, total) == pytest.approx(lp, abs=1e-9)
    assert points_of_lp(nomogram, lp) == pytest.approx(total, abs=1e-9)


def test_total_points_axis_ends_at_the_largest_possible_total():
    """No tick lies where no patient within the axes can be."""
    assert total_points_ticks(nomogram_of(model_of(RISK, PROTECTS)))[-1] == 140.0


def test_survival_axis_inverts_the_model():
    """The tick for 60 % at 36 months is the total at which the model says 60 %."""
    model = model_of(RISK, PROTECTS)
    nomogram = nomogram_of(model)
    points = points_of_survival(nomogram, model, 36, 0.6)
    assert survival(model, lp_of_points(nomogram, points), 36) == pytest.approx(0.6)


def test_survival_axis_before_the_first_event_is_an_error():
    """Where nobody has died, no total gives less than certain survival."""
    with pytest.raises(ValueError, match="no event before 6 months"):
        points_of_survival(nomogram_of(model_of(RISK)), model_of(RISK), 6, 0.9)


def test_model_without_any_effect_has_no_nomogram():
    """All coefficients zero: there is nothing to scale by."""
    with pytest.raises(ValueError, match="width"):
        nomogram_of(model_of(Term("ki67_percent", "Ki-67", "%", 0.0, (0.0, 100.0))))


def test_hazard_steps_at_the_event_time_itself():
    """Survival at an event time includes that event, as R's survfit has it."""
    model = model_of(RISK)
    assert survival(model, 0.0, 11.999) == 1.0
    assert survival(model, 0.0, 12.0) == pytest.approx(math.exp(-0.1))
    assert survival(model, math.log(2), 40.0) == pytest.approx(math.exp(-0.5))


def test_curve_starts_at_one_and_ends_with_the_follow_up():
    """Steps from (0, 1) down to the longest follow-up, never rising."""
    curve = survival_curve(model_of(RISK), 0.3)
    assert curve[0] == (0.0, 1.0)
    assert curve[-1] == (60.0, curve[-2][1])
    assert [p for _, p in curve] == sorted((p for _, p in curve), reverse=True)


def test_absurd_linear_predictor_gives_zero_not_an_overflow():
    """Far outside all experience the answer is a probability still."""
    assert survival(model_of(RISK), 5000.0, 36) == 0.0
    assert survival(model_of(RISK), -5000.0, 36) == 1.0
