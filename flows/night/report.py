"""What a night tells: why it trains or not, an event for automations, a report for each task, a commit's message."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event

from stages.data.files import read_json, write_text
from stages.monitoring.score_files import SCORE
from stages.nightly import DRIFT_FOLDER, SCORES_FOLDER
from stages.tasks.protocol import Task

from ..plan import reasons
from ..reports import pictures
from ..reports.replay import PICTURE, take_replay
from ..reports.scores import scores_report
from ..reports.tables import markdown_table
from .task_night import TaskNight

EVENT = "unroll.night.decided"
REPORT = "report.md"

_SHOWN_FEATURES = 3  # as pictures
_UNKNOWN = "not known"


def decisions(nights: Sequence[TaskNight]) -> str:
    """A row a task, in Markdown: its source, drift, scores, and what follows from them."""
    rows = [[one.owner, one.news.summary, *_watched(one), decision(one)] for one in nights]
    return markdown_table(["task", "source", "drift", "scores", "decision"], rows)


def decision(one: TaskNight) -> str:
    """What was decided about the models of a task, and why, in a sentence."""
    source = [one.source_fault] if one.source_fault and not one.failed else []
    return "; ".join([*_decided(one), *source]) or "no new data to learn from"


def _decided(one: TaskNight) -> list[str]:
    """The decision without what became of the source; empty where there was none to make."""
    if one.failed:
        return ["its data could not be updated, so nothing is decided and the champion stays"]
    edited = [f"{one.edited.name} runs regardless of the policy ({reasons(one.edited)})"] if one.edited else []
    if one.decision is None:
        return edited
    models = ", ".join(one.waiting)
    if not one.decision.retrain:
        return [f"{models} held back: {one.decision.reason}", *edited]
    cut_short = f", as decided in the interrupted nightly run of {one.goes_on}" if one.goes_on else ""
    return [f"{models} trained again{cut_short}: {one.decision.reason}", *edited]


def lines(one: TaskNight) -> list[str]:
    """What the state of the flow says of a task; nothing where nothing was new."""
    told = []
    if one.news.state != "unchanged":
        stays = "" if one.news.state == "new" or (one.decision and one.decision.retrain) else "; the champion stays"
        told.append(f"source: {one.news.summary}{stays}")
    if decided := _decided(one):
        told.append("; ".join(decided))
    told += one.models
    if isinstance(one.forecast, str):
        told.append(f"no forecasts: {one.forecast}")
    elif one.forecast:
        told.append(one.forecast.summary)
    return [f"{one.owner}: {'. '.join(told)}"] if told else []


def emit(one: TaskNight) -> None:
    """Tell Prefect, in labels that an automation can match: `unroll.decision`, `unroll.drift`, `unroll.scores`."""
    watched = one.watched
    decided = "none" if one.decision is None else "retrain" if one.decision.retrain else "held_back"
    name = Task(one.owner).description().model_name
    emit_event(
        EVENT,
        resource={
            "prefect.resource.id": f"unroll.model.{name}",
            "prefect.resource.name": name,
            "unroll.task": one.owner,
            "unroll.source": one.news.state,
            "unroll.decision": decided,
            "unroll.drift": watched.drift if watched else "unknown",
            "unroll.scores": watched.scores if watched else "unknown",
        },
        payload={
            "decision": decision(one),
            "source": one.news.summary,
            "drift": watched.drift_summary if watched else one.fault,
            "scores": watched.scores_summary if watched else one.fault,
        },
    )


def show(root: Path, one: TaskNight) -> None:
    """Leave a report on a task in its folder of nights, and as an artifact, there with the pictures."""
    folder = root / Task(one.owner).paths.night
    folder.mkdir(parents=True, exist_ok=True)
    text = _report(one, folder, take_replay(root, one.owner, folder))
    write_text(folder / REPORT, f"# {one.owner}\n\n{text}\n")
    # Those of features that have changed most come first.
    found = [
        *sorted((folder / SCORES_FOLDER).glob("*.png")),
        *sorted((folder / DRIFT_FOLDER).rglob("*.png"))[:_SHOWN_FEATURES],
        *folder.glob(PICTURE),
    ]
    drawn = pictures.markdown({path.stem.replace("_", " "): path.read_bytes() for path in found}) if found else ""
    create_markdown_artifact(
        f"{text}\n\n{drawn}", key=f"night-{one.owner}", description=f"What the nightly run found out about {one.owner}"
    )


def commit_message(began: datetime, nights: Sequence[TaskNight], told: Sequence[str]) -> str:
    """What came, in the subject; what became of it, below."""
    came = [f"{one.owner}: {one.came}" for one in nights if one.came]
    subject = f"Nightly run of {began:%Y-%m-%d}: {'; '.join(came) or 'no new data at the sources'}"
    return "\n\n".join([subject, *told]) + "\n"


def _report(one: TaskNight, folder: Path, replay: str) -> str:
    parts = [f"**{decision(one)}**", f"Source: {one.news.summary}.", *one.models]
    watched = one.watched
    drift, scores = _watched(one)
    parts += ["## Drift", drift]
    if watched and watched.features:
        parts.append(_table(watched.features))
    score = folder / SCORES_FOLDER / SCORE
    parts += ["## Scores", scores_report(read_json(score)) if score.is_file() else scores]
    if Task(one.owner).has_forecasts and not one.champion:
        parts += ["## Forecasts", "no version is champion yet, so there are no forecasts"]
    if one.forecast:
        told = one.forecast if isinstance(one.forecast, str) else one.forecast.summary
        parts += ["## Forecasts", told]
        if not isinstance(one.forecast, str) and one.forecast.rows:
            parts.append(_table(one.forecast.rows))
    if replay:
        parts += ["## Replay", replay]
    return "\n\n".join(parts)


def _watched(one: TaskNight) -> tuple[str, str]:
    """Drift and scores, each as its verdict and what it rests on."""
    if one.watched is None:
        return (f"{_UNKNOWN}: {one.fault}",) * 2 if one.fault else ("", "")
    found = one.watched
    drift = found.drift_summary if found.drift != "unknown" else _unknown(found.drift_summary)
    scores = f"{found.scores}: {found.scores_summary}" if found.scores != "unknown" else _unknown(found.scores_summary)
    return drift, scores


def _unknown(why: str) -> str:
    return f"{_UNKNOWN}: {why}" if why else _UNKNOWN


def _table(rows: Sequence[dict[str, str]]) -> str:
    return markdown_table(list(rows[0]), (list(row.values()) for row in rows))
