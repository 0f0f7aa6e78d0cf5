"""How likely patients are to be still followed: what one must divide by, so that those lost early are stood in for.

Scores at a horizon know nothing of patients lost before it. Weighting every known outcome by one over the probability
that it was seen lets it speak for those that were not (inverse probability of censoring weights, Graf et al. 1999).
"""

from __future__ import annotations

import numpy as np

from prognode.statistics.kaplan_meier import KaplanMeier, kaplan_meier
from prognode.statistics.outcome import Bools, Floats, Outcome


def censoring_curve(outcome: Outcome) -> KaplanMeier:
    """G(t) = P(C > t), the Kaplan-Meier estimate with censoring as the event.

    A patient who dies is out of danger of being lost at that very time: deaths come before censorings of the same day.
    So those who die at a time do not count as at risk of censoring at it, as in R's ``prodlim(..., reverse = TRUE)`` and
    unlike ``survfit(Surv(time, 1 - event) ~ 1)``, which differs where deaths and censorings are tied.
    """
    curve = kaplan_meier(outcome)
    at_risk = curve.at_risk - curve.events
    share = np.divide(curve.censored, at_risk, out=np.zeros(len(at_risk)), where=at_risk > 0)
    return KaplanMeier(curve.times, at_risk, curve.censored, curve.events, (1 - share).cumprod())


def death_weights(outcome: Outcome, counted: Bools) -> Floats:
    """(n,) 1 / G(T-) for the deaths that are ``counted`` (n,), 0 for everybody else.

    The limit from the left: a death is seen if the patient was followed up to just before it. It is never 0 for somebody
    who was seen to die.
    """
    seen = censoring_curve(outcome).before(outcome.time)
    return np.divide(1.0, seen, out=np.zeros(len(outcome)), where=counted & outcome.event)
