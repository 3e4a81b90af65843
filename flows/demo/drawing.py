"""The tab that draws: four at a time, stroke by stroke; one that is picked goes to the classifier."""

from __future__ import annotations

import json
import secrets
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from .canvas import gallery
from .context import Context, problem
from .models import Refused, Version
from .sides import per_side, two_sides
from .strokes import MAX_TEXT, BadStrokes, Stroke, parse

TASK = "drawing"
_COUNT = 4
_HOTTEST = 1.5
_HINT = "Click a drawing to classify it."


def build(context: Context, pad: gr.HTML, tabs: gr.Tabs) -> None:
    """Build the tab inside the block that is open; what is picked goes to the canvas of another, `pad`."""
    with gr.Row():
        with gr.Column(min_width=260):
            kind = context.class_list(TASK, label="Draw a …", info="Empty: any class.")
            temperature = gr.Slider(
                0.05, _HOTTEST, 0.6, step=0.05, label="Temperature", info="Low: typical drawings. High: unusual ones."
            )
            draw = gr.Button("Draw four", variant="primary")
            hint = gr.Markdown(_HINT, elem_classes="hint")
        sides = context.sides[TASK] = two_sides()
        galleries = []
        for side in sides:
            with side.body:
                label = "Classify this drawing"
                galleries.append(gallery(_COUNT, label, judged=context.corrections.enabled))
    gr.on([draw.click, kind.input], partial(_draw, context), [kind, temperature, context.choice], [*galleries, hint])

    # No `partial`: Gradio finds no annotations of one, and so would not hand it the event.
    def judge(text: str, event: gr.EventData) -> None:
        asked, strokes = _picked(text, event)
        if not isinstance(kept := getattr(event, "liked", None), bool):
            raise gr.Error("Keep it or drop it.", print_exception=False)
        asked_for = {"label": asked.get("label"), "temperature": asked.get("temperature")}
        context.correct(TASK, {**asked_for, "drawing": strokes, "kept": kept})

    for shown in galleries:
        shown.select(_pick, shown, [pad, tabs], queue=False)
        if context.corrections.enabled:
            shown.like(judge, shown, None)


def _draw(context: Context, kind: str | None, temperature: float, choice: str) -> list[str]:
    """Four drawings of each side, by the same seeds, with what was asked for."""
    if not 0 < temperature <= _HOTTEST:  # NaN, too
        raise gr.Error(f"Choose a temperature up to {_HOTTEST:g}.", print_exception=False)
    versions = per_side(context.models, TASK, choice)
    known = next((version.classes for version in versions if version), ())
    kind = kind or (secrets.choice(known) if known else "#1")
    seeds = [secrets.randbelow(2**31) for _ in range(_COUNT)]
    rows = [{"label": kind, "temperature": float(temperature), "seed": seed} for seed in seeds]
    return [*(_ask(version, rows) for version in versions), f"Drawn: {escape(kind)}. {_HINT}"]


def _ask(version: Version | None, rows: list[dict[str, Any]]) -> str:
    if version is None:
        return "{}"
    try:
        drawings = version.predict(rows)["drawing"]
    except Refused as error:
        raise problem(error, "No drawing") from None
    made = [json.loads(drawing) for drawing in drawings if isinstance(drawing, str)]
    return json.dumps({"label": rows[0]["label"], "temperature": rows[0]["temperature"], "drawings": made})


def _pick(text: str, event: gr.EventData) -> list[object]:
    _, strokes = _picked(text, event)
    return [json.dumps(strokes), gr.update(selected="sketch")]


def _picked(text: str, event: gr.EventData) -> tuple[dict[str, Any], list[Stroke]]:
    """What was asked for, and the drawing that an event is about: all of it comes from a visitor."""
    try:
        if len(text) > _COUNT * MAX_TEXT:
            raise BadStrokes("the text is too long")
        asked = json.loads(text)
        return asked, parse(json.dumps(asked["drawings"][int(event.index)]))
    except (BadStrokes, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise gr.Error("This is not one of the drawings.", print_exception=False) from None
