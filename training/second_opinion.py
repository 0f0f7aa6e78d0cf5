"""A second, independent implementation fits every model that is to be locked: lifelines must come to the same numbers.

A recipe is used on patients whom nobody can refit. That two programs by different people agree on its coefficients is
cheap to ask and hard to argue with.
"""

from __future__ import annotations

import numpy as np

from prognode.errors import NotEstimable
from training.models import ModelFit

AGREEMENT = 1e-4
"""Of a standard error."""


def ask(model: ModelFit) -> float:
    """Largest difference of a coefficient from lifelines' fit, in standard errors.

    Raises NotEstimable when lifelines does not converge or differs by more than ``AGREEMENT``.
    """
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    scale = model.covariates.std(axis=0)
    frame = pd.DataFrame(model.covariates / scale, columns=list(model.terms))
    frame["months"], frame["event"] = model.outcome.time, model.outcome.event.astype(int)
    fitter = CoxPHFitter()
    try:
        fitter.fit(frame, "months", "event", fit_options={"step_size": 0.5, "precision": 1e-12})
    except ConvergenceError as fault:
        raise NotEstimable(f"lifelines does not fit the {model.name} model: {fault}") from None
    theirs = fitter.params_[list(model.terms)].to_numpy(np.float64) / scale
    difference = float(np.max(np.abs(theirs - model.fit.coefficients) / model.fit.standard_errors))
    if not difference <= AGREEMENT:
        raise NotEstimable(
            f"two fits of the {model.name} model differ by {difference:.2g} standard errors: it is not locked"
        )
    return difference
