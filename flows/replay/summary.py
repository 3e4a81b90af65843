"""What the policies reached and cost: rows for the table, the same for all formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.evaluation.bootstrap import Scores, interval, ratio

from .walk import BASELINE, KEY, Decision

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_DAYS = 28  # forecasts of so many days are drawn together: a strike or a storm spoils neighbours alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A policy's line; of the baseline, what concerns training is 0."""

    policy: str
    trainings: int
    promoted: int  # of these, by the gate; the first is one
    alarms: int  # days of decision before which there was one
    hours: float  # of training
    days: int  # forecast and observed, over all series
    mae: float  # of `mean`, in the series' unit
    mase: float
    coverage: float | None  # of the 90 % band, 0 to 1
    by_year: dict[str, float]  # mase
    saved: float  # 1 - mase / mase of the first policy
    saved_low: float  # its 95 % interval
    saved_high: float


def scored(forecasts: pd.DataFrame, came: pd.DataFrame) -> pd.DataFrame:
    """The forecasts whose days have come and were observed, with `y`, `error` (absolute) and `scaled`, as in MASE: by
    the scale that was known when the first of the days came, so that all policies and years have the same.
    """
    merged = forecasts.merge(came[[*KEY, "y"]], on=KEY, how="inner")
    error = (merged["y"] - merged["mean"]).abs()
    scales = came.dropna(subset="scale").drop_duplicates("unique_id").set_index("unique_id")["scale"]
    return merged.assign(error=error, scaled=error / merged["unique_id"].map(scales))


def rows(table: pd.DataFrame, decisions: Sequence[Decision], policies: Sequence[str]) -> list[Row]:
    """A row a policy, in their order, then the baseline. All are compared on the same days with the first policy."""
    found = []
    by_policy = dict(list(table.groupby("policy", sort=False)))
    first = by_policy[policies[0]].set_index([*KEY, "day"])["scaled"]
    for policy in (*policies, BASELINE):
        part, own = by_policy[policy], [one for one in decisions if one.policy == policy]
        both = part.join(first.rename("other"), on=[*KEY, "day"], how="inner").dropna(subset=["scaled", "other"])
        inside = (part["q05"] <= part["y"]) & (part["y"] <= part["q95"])
        saved, low, high = _saved(both)
        found.append(
            Row(
                policy=policy,
                trainings=sum(bool(one.reason) for one in own),
                promoted=sum(one.verdict == "champion" for one in own),
                alarms=sum(bool(one.alarm) for one in own),
                hours=round(sum(one.seconds for one in own) / 3600, 4),
                days=len(part),
                mae=float(part["error"].mean()),
                mase=float(part["scaled"].mean()),
                coverage=None if part["q05"].isna().all() else float(inside.mean()),
                by_year={str(year): float(some.mean()) for year, some in part.groupby(part["ds"].dt.year)["scaled"]},
                saved=saved,
                saved_low=low,
                saved_high=high,
            )
        )
    return found


def as_dicts(found: Sequence[Row]) -> list[dict[str, object]]:
    """The rows for JSON, which has no NaN."""
    return [{key: None if value != value else value for key, value in asdict(row).items()} for row in found]


def shown(found: Sequence[Row]) -> str:
    """The tables as text."""
    return "\n\n".join(map(_aligned, tables(found)))


def tables(found: Sequence[Row]) -> tuple[list[list[str]], list[list[str]]]:
    """The summary for people, each with its head: a table of error and cost, and one of the years."""
    first, years = found[0].policy, sorted({year for row in found for year in row.by_year})
    head = ["policy", "trained", "promoted", "alarms", "hours", "MAE", "MASE", "90 % band", f"error against {first}"]
    main, by_year = [head], [["MASE", *years]]
    for row in found:
        cost = [str(row.trainings), str(row.promoted), str(row.alarms), f"{row.hours:.2f}"]
        against = f"{0 - row.saved:+.1%} [{0 - row.saved_high:+.1%}, {0 - row.saved_low:+.1%}]"
        main.append(
            [
                row.policy,
                *(cost if row.policy != BASELINE else [""] * len(cost)),
                f"{row.mae:.4g}" if abs(row.mae) < 1000 else f"{row.mae:,.0f}",
                f"{row.mase:.3f}",
                "" if row.coverage is None else f"{row.coverage:.1%}",
                "" if row is found[0] else against,
            ]
        )
        by_year.append([row.policy, *(f"{row.by_year[year]:.3f}" if year in row.by_year else "" for year in years)])
    return main, by_year


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns beside each other, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def _saved(both: pd.DataFrame) -> tuple[float, float, float]:
    """The share of `other`'s error that is saved, with its interval."""
    if both.empty:
        return (float("nan"),) * 3
    statistics = both[["scaled", "other"]].to_numpy(dtype=np.float64)
    groups = ((both["ds"] - both["ds"].min()).dt.days // _BLOCK_DAYS).to_numpy()
    scores = Scores(statistics=statistics, groups=groups, metric=lambda sums: 1.0 - ratio(sums))
    return scores.value(), *interval(scores)
