"""Error over time by policy, with its trainings and alarms below and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .walk import BASELINE, Decision

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WINDOW = 91  # days: thirteen weeks


def picture(table: pd.DataFrame, decisions: Sequence[Decision], policies: Sequence[str]) -> Figure:
    """Four panels: the mean scaled error of thirteen weeks, the same against the first policy's, trainings and alarms,
    the hours of training so far.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), dpi=110, layout="constrained")
    heights = [3, 2.5, 0.5 + 0.35 * len(policies), 1.3]
    error, against, events, hours = figure.subplots(4, 1, sharex=True, height_ratios=heights)
    _draw_errors(error, against, table, policies)
    for place, policy in enumerate(policies):
        own = [one for one in decisions if one.policy == policy]
        promoted = [one.day for one in own if one.verdict == "champion"]
        others = [one.day for one in own if one.reason and one.verdict != "champion"]
        alarms = [one.day for one in own if one.alarm]
        events.plot(promoted, [place] * len(promoted), "o", color=f"C{place}", markersize=5)
        events.plot(others, [place] * len(others), "o", color=f"C{place}", markersize=5, fillstyle="none")
        events.plot(alarms, [place + 0.3] * len(alarms), "x", color="0.2", markersize=4)
        total, days, sums = 0.0, [], []
        for one in own:
            total += one.seconds / 3600
            days.append(one.day)
            sums.append(total)
        hours.step(days, sums, where="post", color=f"C{place}")
    events.set_yticks(range(len(policies)), policies, fontsize=8)
    events.set_ylim(len(policies) - 0.4, -0.6)
    events.set_title("● trained and promoted   ○ trained, the champion stayed   × alarm", fontsize=8, loc="left")
    hours.set_ylabel("hours of\ntraining")
    figure.align_ylabels()
    return figure


def _draw_errors(error: Axes, against: Axes, table: pd.DataFrame, policies: Sequence[str]) -> None:
    smooth = {}
    for policy in (BASELINE, *policies):
        by_day = table[table["policy"] == policy].groupby("ds")["scaled"].mean()
        smooth[policy] = by_day.rolling(f"{_WINDOW}D", min_periods=_WINDOW // 3).mean()
        color, line = ("0.6", ":") if policy == BASELINE else (f"C{policies.index(policy)}", "-")
        label = f"{policy} ({table.loc[table['policy'] == policy, 'scaled'].mean():.3f})"
        error.plot(smooth[policy].index, smooth[policy], color=color, linestyle=line, label=label)
    for place, policy in enumerate(policies):
        share = 100 * (smooth[policy] / smooth[policies[0]] - 1)
        against.plot(share.index, share, color=f"C{place}")
    error.set_ylabel(f"MASE, mean of\n{_WINDOW} days (of all)")
    error.legend(fontsize=8, ncols=len(policies) + 1, loc="lower right", bbox_to_anchor=(1, 1))
    against.set_ylabel(f"% against {policies[0]}")
