"""What we use of Optuna beyond its public API; `tests/unit/test_compat.py` says which version it was tried with."""

from __future__ import annotations

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

TRIED_WITH = "5.0.0"


def running_trial(study: Study, frozen: FrozenTrial) -> Trial:
    """A trial that an earlier process has asked for and not told, to go on with. Optuna itself has it run no more."""
    return Trial(study, frozen._trial_id)
