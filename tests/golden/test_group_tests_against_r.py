"""Tests between groups of patients against R's own; the R calls stand in the figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from prognode.errors import NotEstimable
from prognode.statistics import group_tests
from prognode.statistics.fisher_exact import conditional_odds_ratio, exact_p

HERE = Path(__file__).parent / "r"
FIGURES = json.loads((HERE / "group_tests.json").read_text())
TWO = {
    "student": group_tests.student_t,
    "welch": group_tests.welch_t,
    "mann_whitney": group_tests.mann_whitney,
}
SEVERAL = {
    "anova": group_tests.anova,
    "welch_anova": group_tests.welch_anova,
    "kruskal": group_tests.kruskal_wallis,
    "bartlett": group_tests.bartlett,
    "levene": group_tests.levene,
}
EXACT = {"rel": 1e-11, "abs": 1e-14}
ROYSTON = {"rel": 1e-7, "abs": 1e-12}
"""SciPy's polynomials for normal quantiles in the Shapiro-Wilk test have about ten digits."""


def column(part: str, name: str) -> np.ndarray:
    with (HERE / "data" / f"cohort_{part}.csv").open(newline="") as lines:
        return np.array([float(row[name]) for row in csv.DictReader(lines)])


def cases() -> dict[str, tuple[list, dict]]:
    """Random groups, three cohorts, and two halves of the training cohort, each with what R says of them."""
    found = {name: (case["groups"], case["tests"]) for name, case in FIGURES["numeric"].items()}
    for name, tests in FIGURES["cohorts"].items():
        found[f"cohorts_{name}"] = [column(part, name) for part in ("train", "internal", "external")], tests
    half = np.array(FIGURES["risk"]["group"])
    for name, tests in FIGURES["risk"]["tests"].items():
        values = column("train", name)
        found[f"risk_{name}"] = [values[half == 0], values[half == 1]], tests
    return found


CASES = cases()


def assert_is(mine: group_tests.GroupTest, r: dict, tolerance: dict) -> None:
    assert mine.statistic == pytest.approx(r["statistic"], **tolerance)
    assert list(mine.df) == pytest.approx(r["df"], **tolerance)
    assert mine.p == pytest.approx(r["p"], **tolerance)


@pytest.mark.parametrize("case", sorted(CASES))
@pytest.mark.parametrize("test", [*TWO, *SEVERAL])
def test_statistic_df_and_p_are_those_of_r(case, test):
    """Every numeric test on every case; where R has no number there is none here either."""
    groups, expected = CASES[case]
    if test in TWO and len(groups) > 2:
        return
    call = (lambda: TWO[test](*groups)) if test in TWO else (lambda: SEVERAL[test](groups))
    if expected.get(test):
        assert_is(call(), expected[test], EXACT)
        return
    with pytest.raises(NotEstimable):
        call()


@pytest.mark.parametrize("case", sorted(CASES))
def test_shapiro_wilk_is_that_of_r(case):
    """Each group's W and p, ties and three values included; R refuses the same groups."""
    for group, expected in zip(CASES[case][0], CASES[case][1]["shapiro"], strict=True):
        if expected:
            assert_is(group_tests.shapiro_wilk(group), expected, ROYSTON)
            continue
        with pytest.raises(NotEstimable):
            group_tests.shapiro_wilk(group)


@pytest.mark.parametrize("case", [case for case in sorted(CASES) if len(CASES[case][0]) == 2])
def test_mann_whitney_is_exact_where_r_is(case):
    """The name says exact in just those cases in which R's method does."""
    groups, expected = CASES[case]
    exact = "exact" in expected["mann_whitney"]["method"]
    assert group_tests.mann_whitney(*groups).name.endswith("exact" if exact else "normal approximation")


@pytest.mark.parametrize("name", sorted(FIGURES["tables"]))
def test_chi_squared_is_that_of_r(name):
    """With R's default correction of 2 x 2 tables and without."""
    r = FIGURES["tables"][name]
    table = np.array(r["table"])
    mine = group_tests.chi_squared(table)
    assert_is(mine, r["chisq"], EXACT)
    assert ("Yates" in mine.name) == ("Yates" in r["chisq"]["method"])
    assert_is(group_tests.chi_squared(table, yates=False), r["uncorrected"], EXACT)


@pytest.mark.parametrize("name", sorted(FIGURES["tables"]))
def test_fisher_is_that_of_r(name):
    """The exact p from 2 x 2 to 8 x 8; where R's workspace is too small the name still says how p was found."""
    r = FIGURES["tables"][name]
    mine = group_tests.fisher_exact(r["table"])
    if "fisher_p" in r:
        assert mine.name == "Fisher's exact test"
        assert mine.p == pytest.approx(r["fisher_p"], rel=1e-10)
    assert mine.name.endswith("Monte Carlo 100000 tables") == (exact_p(np.array(r["table"])) is None)


@pytest.mark.parametrize("name", [n for n, r in sorted(FIGURES["tables"].items()) if "odds_ratio" in r])
def test_odds_ratio_is_that_of_r(name):
    """R stops its root search at 1e-4 of 1/OR; the estimate here is the exact root, so four digits agree."""
    r = FIGURES["tables"][name]
    mine = conditional_odds_ratio(np.array(r["table"]))
    assert mine == pytest.approx(float(r["odds_ratio"]), rel=2e-4)


@pytest.mark.parametrize("name", sorted(FIGURES["tables"]))
def test_chooser_follows_the_expected_counts_of_r(name):
    """Fisher's test where R's expected counts break Cochran's rule, chi-squared elsewhere."""
    r = FIGURES["tables"][name]
    sparse = r["min_expected"] < 1 or r["share_expected_lt5"] > 0.2
    assert group_tests.compare_categories(r["table"]).name.startswith("Fisher" if sparse else "Pearson")


@pytest.mark.reference
def test_figures_are_those_of_the_reference_file(reference_dir):
    """The numbers carried here agree with the ones that stand beside the repository."""
    r = json.loads((reference_dir / "stats" / "ref" / "11_baseline_tests.json").read_text())
    for name, tests in FIGURES["cohorts"].items():
        assert tests["anova"]["p"] == pytest.approx(r["three"]["numeric"][name]["aov_p"], rel=1e-13)
        assert tests["levene"]["p"] == pytest.approx(
            r["three"]["numeric"][name]["levene_median"]["p"], rel=1e-12
        )
    for name, tests in FIGURES["risk"]["tests"].items():
        of_r = r["risk_train"]["numeric"][name]
        assert tests["mann_whitney"]["p"] == pytest.approx(of_r["wilcox_default"]["p"], rel=1e-13)
        assert tests["welch"]["p"] == pytest.approx(of_r["t_welch"]["p"], rel=1e-13)
    for part, prefix in (("three", "cohorts"), ("risk_train", "risk")):
        for name, of_r in r[part]["categorical"].items():
            carried = FIGURES["tables"][f"{prefix}_{name}"]
            assert carried["table"] == of_r["table"]
            assert carried["fisher_p"] == pytest.approx(of_r["fisher"]["p"], rel=1e-13)
            assert carried["chisq"]["p"] == pytest.approx(of_r["chisq_default"]["p"], rel=1e-13)
