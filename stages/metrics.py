"""Whether higher or lower values of a metric are better: the only place that says so.

The gate, the tables, early stopping and searches all ask here, by a metric's name in `metrics/TASK.json` or a network's
`losses()`. A new metric that a model is judged by, or that training monitors, gets its line here.
"""

from __future__ import annotations

_HIGHER = frozenset(
    {
        *("accuracy", "top5_accuracy", "macro_f1", "token_accuracy", "shuffled_accuracy"),
        *("recognised", "real_recognised", "exact_match", "bleu", "chrf"),
    }
)
_LOWER = frozenset(
    {
        *("loss", "pen_loss", "log_loss", "ece", "nll", "pen_nll"),
        *("quantile_error", "absolute_error", "mae", "mae_of_median", "rmse", "mase", "smape", "wql"),
    }
)


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better. Raises ValueError for a name that no line above holds."""
    if metric in _HIGHER or metric in _LOWER:
        return metric in _HIGHER
    known = ", ".join(sorted(_HIGHER | _LOWER))
    raise ValueError(f"{metric!r}: stages/metrics.py does not say whether higher or lower is better; known: {known}")
