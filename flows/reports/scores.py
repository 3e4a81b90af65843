"""What `stages.score` has left of a task, as an artifact of a flow run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.data.files import read_json
from stages.evaluation.report import format_interval, table_row
from stages.monitoring.score_files import FOLDER, PICTURE, SCORE

from . import pictures

_ALARMS = 10


def show_scores(task: str, root: Path = Path()) -> None:
    """Make the artifact `scores-TASK` of the scores in a checkout."""
    from prefect.artifacts import create_markdown_artifact

    folder = root / FOLDER / task
    picture = folder / PICTURE
    text = scores_report(read_json(folder / SCORE))
    if picture.is_file():
        text += f"\n\n{pictures.markdown({'errors of the last 90 days': picture.read_bytes()})}"
    create_markdown_artifact(text, key=f"scores-{task}", description=f"How good the forecasts of {task} were")


def scores_report(score: Mapping[str, Any]) -> str:
    """`score.json` as Markdown: the verdict, metrics beside those of the evaluation, the newest alarms, notes."""
    parts = [f"**{score['verdict']}**: {score['summary']}"]
    if score["metrics"]:
        rows = [_row(name, found) for name, found in score["metrics"].items()]
        header = ["metric", "now", "in the evaluation", "n"]
        parts.append("\n".join(map(table_row, (header, ["---", "---:", "---:", "---:"], *rows))))
    if alarms := score["alarms"]:
        newest = [f"- {alarm['day']}: {alarm['series']}, {alarm['chart']}" for alarm in alarms[: -_ALARMS - 1 : -1]]
        parts.append("\n".join([f"{len(alarms):,} alarms, the newest:", "", *newest]))
    parts += score["notes"]
    return "\n\n".join(parts)


def _row(name: str, found: Mapping[str, float]) -> list[str]:
    before = "unknown"
    if "evaluation" in found:
        ends = [found.get(f"evaluation{end}", found["evaluation"]) for end in ("", "_low", "_high")]
        before = format_interval(*ends)
    return [name, format_interval(found["value"], found["low"], found["high"]), before, f"{found['n']:,.0f}"]
