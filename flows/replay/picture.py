"""Error over time by policy, with its trainings and alarms below and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .walk import BASELINE, Decision

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_WINDOW = 91  # days: thirteen weeks


def picture(table: pd.DataFrame, decisions: Sequence[Decision], policies: Sequence[str]) -> Figure:
    """Three panels: the mean scaled error of thirteen weeks, trainings and alarms, the hours of training so far."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7.5), dpi=110, layout="constrained")
    error, events, hours = figure.subplots(3, 1, sharex=True, height_ratios=[4, 0.5 + 0.35 * len(policies), 1.5])
    for policy in (BASELINE, *policies):
        by_day = table[table["policy"] == policy].groupby("ds")["scaled"].mean()
        smooth = by_day.rolling(f"{_WINDOW}D", min_periods=_WINDOW // 3).mean()
        style = {"color": "0.6", "linestyle": ":"} if policy == BASELINE else {"color": f"C{policies.index(policy)}"}
        error.plot(
            smooth.index,
            smooth,
            label=f"{policy} ({table.loc[table['policy'] == policy, 'scaled'].mean():.3f})",
            **style,
        )
    error.set_ylabel(f"MASE, mean of {_WINDOW} days")
    error.legend(fontsize=8, ncols=3, title="mean of all days in brackets", title_fontsize=8)
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
