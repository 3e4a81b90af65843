"""What we use of Optuna beyond its public API; `tests/unit/test_compat.py` says which version it was tried with."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

TRIED_WITH = "5.0.0"


def running_trial(study: Study, frozen: FrozenTrial) -> Trial:
    """A trial that an earlier process began and did not end, to go on with; Optuna has no public way to do that."""
    return Trial(study, frozen._trial_id)
