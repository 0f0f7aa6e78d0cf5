"""The axes of a nomogram: one drawing for the page of a patient and for the report of a study."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from sr_samples import sample_model

from prognode.adapters.nomogram_axes import (
    PAGE,
    AxesLook,
    NomogramAxis,
    draw_axes,
    horizon,
    nomogram_axes,
    total_at,
)
from prognode.domain.cox_model import linear_predictor, survival
from prognode.domain.nomogram import axis_points, nomogram_of, points_of_lp


def _drawn(rows: list[NomogramAxis], look: AxesLook) -> list[tuple[float, str]]:
    """(place, words) of every label that is drawn under a line."""
    from matplotlib.figure import Figure

    axes = Figure().add_axes((0, 0, 1, 1))
    draw_axes(axes, rows, look)
    return [(text.get_position()[0], text.get_text()) for text in axes.texts if text.get_va() == "top"]


def test_axes_stand_in_the_order_of_use():
    """Points, then each term, their total, then survival."""
    labels = [axis.label for axis in nomogram_axes(sample_model(), (36, 60))]
    assert labels == [
        "Points",
        "Arterial signature",
        "Venous signature",
        "Ki-67 (%)",
        "Longest diameter (mm)",
        "M stage",
        "Total points",
        "3-year survival (%)",
        "5-year survival (%)",
    ]


def test_ticks_lie_where_the_points_say():
    """A tick of a term lies at its points; the largest tick of the widest axis at 100."""
    model = sample_model()
    nomogram = nomogram_of(model)
    axes = nomogram_axes(model, (36,))[1:6]
    for term, axis in zip(model.terms, axes, strict=True):
        assert [x for x, _ in axis.ticks] == [axis_points(nomogram, term, tick) for tick in term.axis]
    assert max(x for axis in axes for x, _ in axis.ticks) == pytest.approx(100)
    assert [text for _, text in axes[-1].ticks] == ["M0", "M1"]


def test_survival_stands_under_its_total():
    """Whoever reads survival under a total finds what the model says of such a patient."""
    model = sample_model()
    values = {
        "signature_arterial": 0.4,
        "signature_venous": 0.8,
        "ki67_percent": 60.0,
        "longest_diameter_mm": 80.0,
        "m_stage": 1.0,
    }
    lp = linear_predictor(model, values)
    at = total_at(model, points_of_lp(nomogram_of(model), lp))
    probability = 100 * survival(model, lp, 36)
    ticks = nomogram_axes(model, (36,))[-1].ticks
    left = max((tick for tick in ticks if tick[0] <= at), key=lambda tick: tick[0])
    right = min((tick for tick in ticks if tick[0] > at), key=lambda tick: tick[0])
    assert float(left[1]) >= probability >= float(right[1])


def test_a_model_without_width_has_no_axes():
    """All coefficients zero: there is nothing to draw."""
    terms = tuple(replace(term, coefficient=0.0) for term in sample_model().terms)
    with pytest.raises(ValueError, match="no axis"):
        nomogram_axes(replace(sample_model(), terms=terms), (36,))


def test_labels_keep_their_distance():
    """Labels that would run into each other are left out, their ticks stay."""
    crowded = NomogramAxis("x", tuple((float(place), f"{place}") for place in (0, 1, 4, 9, 10, 40)))
    assert [text for _, text in _drawn([crowded], PAGE)] == ["0", "9", "40"]
    wide = AxesLook(between_labels=1.0, letter=3.0)
    places = [x for x, _ in _drawn([crowded], wide)]
    assert all(after - before >= 4 for before, after in pairwise(places))


def test_even_ticks_are_labelled_evenly():
    """With strides, every second or fifth of evenly spaced ticks is labelled, not whichever fits."""
    even = NomogramAxis("x", tuple((2.0 * place, f"{place}") for place in range(12)))
    look = AxesLook(between_labels=1.0, letter=1.5, strides=(1, 2, 5))
    assert [text for _, text in _drawn([even], look)] == ["0", "2", "4", "6", "8", "10"]


@pytest.mark.parametrize(("months", "words"), [(36, "3-year"), (12, "1-year"), (40, "40-month")])
def test_horizons_are_named_in_years_where_they_are_whole(months, words):
    """Whole years are years, other times months."""
    assert horizon(months) == words
