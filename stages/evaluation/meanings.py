"""The metrics in words, for those who read a model's card."""

from __future__ import annotations

MEANINGS = {
    "accuracy": "share of examples whose first answer is correct",
    "top5_accuracy": "share of examples with the correct answer among the first five",
    "macro_f1": "harmonic mean of precision and recall, averaged over the classes",
    "log_loss": "mean negative log-probability of the correct answer, in nats; lower is better",
    "ece": "expected calibration error of the stated probabilities; lower is better",
    **{f"accuracy_seen_{n}": f"accuracy after the first {n} % of a drawing's points" for n in (20, 50, 80)},
    "recognised": "share of its drawings in which the judge, a classifier, sees the requested class",
    "real_recognised": "the same share for the drawings of the test split",
    "nll": "negative log-likelihood of the test drawings per step, in nats, offsets in pixels; lower is better",
    "pen_nll": "the part of it due to the pen states",
    "shuffled_accuracy": "accuracy with the frames of each clip in random order",
    "exact_match": "share of answers that equal a reference, character by character",
    "best_possible_exact_match": "the highest exact match that a perfect translator can expect on these data",
    "bleu": "overlap of word n-grams with the references, 0 to 100 (sacreBLEU)",
    "chrf": "overlap of character n-grams with the references, 0 to 100 (sacreBLEU)",
    "mae": "mean absolute error of the mean forecast, in the series' unit; lower is better",
    "mae_of_median": "mean absolute error of the median forecast; lower is better",
    "rmse": "root mean squared error; lower is better",
    "mase": "error relative to that of repeating the previous week; lower is better",
    "smape": "symmetric mean absolute percentage error, 0 to 200; lower is better",
    "wql": "weighted quantile loss; lower is better",
    "coverage_90": "share of days inside the 90 % band; 0.9 is best",
    **{
        f"skill_{name}": f"relative reduction of the error against the baseline {name}; above 0 is better"
        for name in ("naive", "seasonal_naive", "autoets", "autotheta", "ridge", "lightgbm")
    },
    **{
        f"{name}_left_out_fits": f"forecasts for which the baseline {name} was not fitted; its scores are estimated"
        for name in ("autoets", "autotheta")
    },
    **{
        f"{name}_failed_fits": f"forecasts of the baseline {name} that failed and were replaced"
        for name in ("autoets", "autotheta")
    },
}


def meaning(metric: str) -> str:
    """What a metric says, or nothing for an unknown one."""
    if metric.startswith("greedy_"):
        return f"{metric.removeprefix('greedy_')} with greedy search"
    if metric.startswith("mae_day_"):
        return f"mae {metric.removeprefix('mae_day_')} days ahead"
    return MEANINGS.get(metric, "")
