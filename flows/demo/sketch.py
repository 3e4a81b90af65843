"""The tab to draw on: after each stroke the likeliest classes, and how they came to be so over the drawing's time."""

from __future__ import annotations

from functools import partial

import gradio as gr

from stages.registry.decision import CHAMPION

from . import pictures
from .canvas import pad
from .context import Context, problem, said
from .examples import Drawings
from .models import Refused, Version
from .sides import per_side, two_sides
from .strokes import BadStrokes, Stroke, parse, prefixes

TASK = "sketch"
_MOMENTS = 12  # at which the model is asked, for the curve
_TAKE_BACK = "text => JSON.stringify(JSON.parse(text || '[]').slice(0, -1))"


def build(context: Context) -> gr.HTML:
    """Build the tab inside the block that is open; returns its canvas, for other tabs to hand a drawing to."""
    examples = Drawings()
    with gr.Row():
        with gr.Column(min_width=300):
            canvas = pad("Canvas: draw with mouse, pen or finger")
            with gr.Row():
                undo = gr.Button("Undo", min_width=80)
                clear = gr.Button("Clear", min_width=80)
            with gr.Row(visible=bool(examples.classes), elem_classes="joined"):
                kind = gr.Dropdown(examples.classes, label="An example of", min_width=140)
                show = gr.Button("Show one", min_width=120, scale=0)
            if context.corrections.enabled:
                word = _build_correction(context, canvas)
                clear.click(None, None, word, js="() => ''")
        sides = context.sides[TASK] = two_sides()
        labels = []
        for side, name in zip(sides, ("bars", "other-bars"), strict=True):
            with side.body:
                labels.append(gr.Label(label="Most likely classes", num_top_classes=5, elem_id=name))
        with sides[0].body:
            belief = gr.HTML()
    for button, script in ((undo, _TAKE_BACK), (clear, "() => '[]'")):
        button.click(None, canvas, canvas, js=script)
    gr.on([show.click, kind.input], partial(_example, examples), kind, canvas, queue=False)
    # Whoever has changed the drawing. Without the queue, so that bars follow the pen; one question at a time, and the
    # last one for certain, so that no earlier answer comes after a later one.
    gr.on(
        [canvas.change, context.shown.change],
        partial(_answer, context),
        [canvas, context.choice],
        [*labels, belief],
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        api_name="answer_sketch",
    )
    return canvas


def _build_correction(context: Context, canvas: gr.HTML) -> gr.Dropdown:
    """Say what a drawing is, with the list that is returned: the model's own classes, and any other word."""
    word, keep = context.label_row(TASK, "It was a …")

    def correct(text: str, label: str | None) -> None:
        if not (strokes := _strokes(text)):
            raise gr.Error("There is nothing on the canvas.", print_exception=False)
        label = said(label)
        champion = context.models.get(TASK, CHAMPION)
        bars, _ = _ask(champion, strokes)
        recognized = label == next(iter(bars or {}), None)
        context.correct(TASK, {"word": label, "drawing": strokes, "recognized": recognized}, label)

    keep.click(correct, [canvas, word], None)
    return word


def _answer(context: Context, text: str, choice: str) -> list[object]:
    """Bars of both sides and the curve of the first."""
    strokes = _strokes(text)
    answers = [_ask(version, strokes) for version in per_side(context.models, TASK, choice)]
    return [*(bars for bars, _ in answers), answers[0][1]]


def _ask(version: Version | None, strokes: list[Stroke]) -> tuple[dict[str, float] | None, str]:
    if version is None or not strokes:
        return None, ""
    moments = list(prefixes(strokes, _MOMENTS))
    try:
        answer = version.predict([{"drawing": seen} for _, seen in moments])
    except Refused as error:
        raise problem(error, "No answer") from None
    beliefs = [
        {} if isinstance(labels, float) or labels is None else dict(zip(labels, map(float, values), strict=True))
        for labels, values in zip(answer["top5_labels"], answer["top5_probabilities"], strict=True)
    ]
    if not beliefs[-1]:  # the whole drawing, of which a part was answered
        raise problem(answer["error"].iloc[-1], "No answer")
    timed = len(strokes[0]) == 3
    return beliefs[-1], pictures.belief(
        "Probability while it was drawn",
        [moment for moment, _ in moments],
        f"{moments[-1][0]:.3g} seconds" if timed else "the whole drawing",
        beliefs,
    )


def _example(examples: Drawings, name: str | None) -> object:
    return examples.any_of(name) if name and name in examples.classes else gr.skip()


def _strokes(text: str) -> list[Stroke]:
    try:
        return parse(text)
    except BadStrokes as error:
        raise problem(error, "Not understood") from None
