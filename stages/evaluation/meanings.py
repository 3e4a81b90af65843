"""The metrics in words, for those who read a model's card."""

from __future__ import annotations

MEANINGS = {
    "accuracy": "share of examples whose first answer is right",
    "top5_accuracy": "share of examples with the right answer among the first five",
    "macro_f1": "harmonic mean of precision and recall, averaged over the classes",
    "log_loss": "mean surprise at the truth, in nats; lower is better",
    "ece": "expected calibration error, how far stated probabilities are off; lower is better",
    **{f"accuracy_seen_{n}": f"accuracy when a drawing is broken off after {n} % of its points" for n in (20, 50, 80)},
    "recognised": "share of its drawings that the judge, a classifier, takes for what was asked",
    "real_recognised": "the same of people's drawings in the test split",
    "nll": "negative log-likelihood of test drawings a step, in nats, offsets in pixels; lower is better",
    "pen_nll": "what of it is the pen's",
    "shuffled_accuracy": "accuracy where the frames of each clip come in random order",
    "exact_match": "share of answers that are a reference, to the character",
    "best_possible_exact_match": "what the best of all translators may expect here",
    "bleu": "words and their sequences shared with references, 0 to 100 (sacreBLEU)",
    "chrf": "sequences of characters shared with references, 0 to 100 (sacreBLEU)",
    "mae": "mean absolute error of the mean, in the series' unit; lower is better",
    "mae_of_median": "the same of the median; lower is better",
    "rmse": "root of the mean squared error; lower is better",
    "mase": "error in units of what repeating the last week is wrong by; lower is better",
    "smape": "symmetric percentage error, 0 to 200; lower is better",
    "wql": "weighted quantile loss; lower is better",
    "coverage_90": "share of days inside the 90 % band; 0.9 is best",
    **{
        f"skill_{name}": f"by which share its error is smaller than that of the baseline {name}; above 0 is better"
        for name in ("naive", "seasonal_naive", "autoets", "autotheta", "ridge", "lightgbm")
    },
    **{
        f"{name}_left_out_fits": f"forecasts without a fit of the baseline {name}; its scores are estimated for them"
        for name in ("autoets", "autotheta")
    },
    **{
        f"{name}_failed_fits": f"forecasts of the baseline {name} that had to be replaced"
        for name in ("autoets", "autotheta")
    },
}


def meaning(metric: str) -> str:
    """What a metric says, or nothing for an unknown one."""
    if metric.startswith("greedy_"):
        return f"{metric.removeprefix('greedy_')} by greedy search"
    if metric.startswith("mae_day_"):
        return f"mae of day {metric.removeprefix('mae_day_')} ahead"
    return MEANINGS.get(metric, "")
