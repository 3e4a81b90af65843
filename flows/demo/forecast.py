"""The tab for series: a CSV or an example in; the seven days ahead with their band, as a picture and a table out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

import gradio as gr
import pandas as pd

from stages.paths import delete_older
from stages.tasks.forecast.serve.predictor import local_days

from . import examples, pictures
from .context import Context, problem
from .files import BadFile, read_frame, read_records
from .models import Refused, Version
from .sides import per_side, two_sides

TASK = "forecast"
_SHOWN_DAYS, _SHOWN_SERIES = 90, 200
_TABLE_SECONDS = 60.0
_ONE_SERIES = "(one series)"
_NAMES = {  # what a column is often called
    "ds": ("ds", "date", "day", "datum", "timestamp", "service_date"),
    "y": ("y", "value", "sales", "sold", "count", "quantity", "orders", "rides", "total_rides", "temp_max"),
    "unique_id": (
        *("unique_id", "series", "id", "name", "store", "shop", "branch", "station", "city", "region"),
        *("item", "product", "sku"),
    ),
}


def build(context: Context) -> None:
    """Build the tab inside the block that is open."""
    example = examples.series(context.folder)
    with gr.Row():
        with gr.Column(min_width=300):
            file = gr.File(label="A CSV with one row per day", file_types=[".csv"], height=140)
            gr.Examples([[str(example)]], file, label="Example")
            with gr.Row():
                day, value, series = (gr.Dropdown(label=name, min_width=150) for name in ("Day", "Value", "Series"))
            ask = gr.Button("Forecast", variant="primary")
        sides = context.sides[TASK] = two_sides()
        outputs: list[gr.components.Component] = []
        answers = []
        for side in sides:
            with side.body:
                answers.append(gr.State())
                shown = gr.Dropdown(label="Show", visible=False)
                picture = gr.HTML()
                table = gr.Dataframe(
                    label="Seven days ahead",
                    interactive=False,
                    buttons=[],
                    visible=False,
                    column_widths=["30%", "17.5%", "17.5%", "17.5%", "17.5%"],
                )
                download = gr.DownloadButton("Download the table", visible=False, size="sm")
                outputs += [answers[-1], shown, picture, table, download]
                gr.on([shown.input], _show, [answers[-1], shown], [picture, table])
    columns = [day, value, series]
    inputs = [file, *columns, context.choice]
    file.change(partial(_open, context), [file, context.choice], [*columns, *outputs])
    asks = [ask.click, context.shown.change, *(column.input for column in columns)]
    gr.on(asks, partial(_answer, context), inputs, outputs)


def _open(context: Context, path: str | None, choice: str) -> list[object]:
    """What the columns of a file may be, with the likeliest of each chosen, and the answer for these."""
    names: list[str] = []
    if path:
        try:
            names = list(next(read_records(path, ()), (0, {}))[1])
        except BadFile as error:
            raise problem(error, "The file is wrong") from None
    day, value, series = _likeliest(names)
    columns = [
        gr.update(choices=names, value=day),
        gr.update(choices=names, value=value),
        gr.update(choices=[_ONE_SERIES, *names], value=series or _ONE_SERIES),
    ]
    try:
        return [*columns, *_answer(context, path, day, value, series, choice)]
    except gr.Error as error:  # other columns may be meant
        gr.Warning(error.message, title="No forecast", duration=30)
        return [*columns, *_answer(context, None, None, None, None, choice)]


def _likeliest(names: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Of a file's columns, those that hold the day, the value and the series, by what they are called."""
    known = {name.lower(): name for name in reversed(names)}
    guesses = {key: next((known[name] for name in often if name in known), None) for key, often in _NAMES.items()}
    day = guesses["ds"] or (names[0] if names else None)
    value = guesses["y"] or next((name for name in names if name not in (day, guesses["unique_id"])), None)
    return day, value, guesses["unique_id"]


def _answer(
    context: Context, path: str | None, day: str | None, value: str | None, series: str | None, choice: str
) -> list[object]:
    """For both sides: the answer, which series there are, and the first one's picture and table."""
    versions, tables = per_side(context.models, TASK, choice), context.folder / "tables"
    if not path or not day or not value:
        return [part for _ in versions for part in _parts(None, tables)]
    try:
        frame = read_frame(path, day, value, series if series != _ONE_SERIES else None)
        return [part for version in versions for part in _parts(_ask(version, frame), tables)]
    except BadFile as error:
        raise problem(error, "No forecast") from None
    except Refused as error:
        several = series in (None, _ONE_SERIES) and "prepare.duplicates" in str(error)
        advice = "; for rows of several series, choose the column of their names as Series" if several else ""
        raise problem(f"{error}{advice}", "No forecast") from None


def _ask(version: Version | None, frame: pd.DataFrame) -> dict[str, pd.DataFrame] | None:
    """By series, the days that are shown and those ahead; None where the side has no version."""
    if version is None:
        return None
    answer = version.predict_frame(frame)
    refused, answer = answer[answer["ds"].isna()], answer[answer["ds"].notna()]
    if len(refused):
        first = refused.iloc[0]
        others = f" (and {len(refused) - 1} more series)" if len(refused) > 1 else ""
        gr.Warning(escape(f"{first['unique_id']}: {first['error']}{others}"), title="No forecast", duration=30)
    names = list(dict.fromkeys(answer["unique_id"]))[:_SHOWN_SERIES]
    past = frame[frame["unique_id"].isin(names)]
    past = past.assign(ds=local_days(past["ds"]).astype("datetime64[D]").astype("datetime64[ns]"))
    past["y"] = pd.to_numeric(past["y"])
    days = past.dropna(subset=["y"]).groupby(["unique_id", "ds"])["y"].mean().reset_index()
    return {
        "history": days.groupby("unique_id").tail(_SHOWN_DAYS),
        "ahead": answer.drop(columns="error", errors="ignore").infer_objects(),
    }


def _parts(answer: dict[str, pd.DataFrame] | None, tables: Path) -> list[object]:
    """State, series to choose from, picture, table and download of one side."""
    if answer is None:
        return [None, gr.update(choices=[], visible=False), "", gr.update(visible=False), gr.update(visible=False)]
    names = list(dict.fromkeys(answer["ahead"]["unique_id"]))
    picture, table = _show(answer, names[0])
    tables.mkdir(exist_ok=True)
    delete_older(tables.iterdir(), _TABLE_SECONDS)  # the page has a copy of each
    path = tables / f"forecast-{secrets.token_hex(8)}.csv"
    answer["ahead"].to_csv(path, index=False, date_format="%Y-%m-%d")
    choices = gr.update(choices=names, value=names[0], visible=len(names) > 1)
    return [answer, choices, picture, table, gr.update(value=str(path), visible=True)]


def _show(answer: dict[str, pd.DataFrame] | None, name: str) -> tuple[str, object]:
    if answer is None or name not in set(answer["ahead"]["unique_id"]):
        return "", gr.update(visible=False)
    history, ahead = (part[part["unique_id"] == name] for part in (answer["history"], answer["ahead"]))
    table = ahead.drop(columns="unique_id").assign(ds=pd.to_datetime(ahead["ds"]).dt.strftime("%Y-%m-%d"))
    return pictures.forecast(history, ahead), gr.update(value=table.round(2), visible=True)
