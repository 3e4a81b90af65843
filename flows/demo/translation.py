"""The tab for texts: a translation, the next best and, where the version says so, what each token looked at."""

from __future__ import annotations

from functools import partial

import gradio as gr

from . import examples
from .context import Context, problem
from .models import Refused, Version
from .pictures import attention
from .sides import per_side, two_sides

TASK = "translation"
_MAX_TEXT = 2000  # characters
_N_BEST = 5
_COLUMNS = ["translation", "log-probability per token"]


def build(context: Context) -> None:
    """Build the tab inside the block that is open."""
    with gr.Row():
        with gr.Column(min_width=300):
            text = gr.Textbox(
                label="Text", lines=1, max_lines=4, max_length=_MAX_TEXT, placeholder="Type, and press Enter"
            )
            ask = gr.Button("Translate", variant="primary")
            offered = gr.Examples([[sentence] for sentence in examples.sentences()], text, label="Examples")
            if context.corrections.enabled:
                _build_correction(context, text)
        sides = context.sides[TASK] = two_sides()
        outputs: list[gr.components.Component] = []
        for side in sides:
            with side.body:
                outputs += [
                    gr.Textbox(label="Translation", lines=2, buttons=["copy"], interactive=False),
                    gr.Dataframe(
                        headers=_COLUMNS,
                        label="Best hypotheses",
                        interactive=False,
                        wrap=True,
                        buttons=[],
                        visible=False,
                    ),
                    gr.HTML(visible=False),
                ]
    answer, inputs = partial(_answer, context), [text, context.choice]
    gr.on([ask.click, text.submit, context.shown.change], answer, inputs, outputs)
    offered.load_input_event.then(answer, inputs, outputs)


def _build_correction(context: Context, text: gr.Textbox) -> None:
    with gr.Row(elem_classes="joined"):
        better = gr.Textbox(label="A better translation", max_length=_MAX_TEXT, min_width=140)
        keep = gr.Button("Submit", min_width=90, scale=0)

    def correct(source: str, target: str) -> None:
        if not source.strip() or not target.strip():
            raise gr.Error("Type a text, and a translation of it.", print_exception=False)
        context.correct(TASK, {"source": source.strip(), "target": target.strip()})

    keep.click(correct, [text, better], None)


def _answer(context: Context, text: str, choice: str) -> list[object]:
    if len(text or "") > _MAX_TEXT:
        found = f"text: found {len(text):,} characters; allowed: {_MAX_TEXT:,}"
        raise problem(found, "Too long")
    return [part for version in per_side(context.models, TASK, choice) for part in _ask(version, text)]


def _ask(version: Version | None, text: str) -> list[object]:
    """Translation, the n best and the attention of one side."""
    hidden = gr.update(visible=False)
    if version is None or not (text or "").strip():
        return ["", gr.update(value=[], visible=False), hidden]
    has_list = version.offers("n_best", "n_best_translations", "n_best_scores")
    looks = version.offers("attention", "tokens", "attention")
    params = ({"n_best": _N_BEST} if has_list else {}) | ({"attention": True} if looks else {})
    try:
        answer = version.predict([{"text": text}], **params).iloc[0]
    except Refused as error:
        raise problem(error, "No translation") from None
    best: object = gr.update(value=[], visible=False)
    if has_list:
        pairs = zip(answer["n_best_translations"], answer["n_best_scores"], strict=True)
        best = gr.update(value=[[translation, round(float(score), 3)] for translation, score in pairs], visible=True)
    picture = hidden
    if looks:
        source, target = answer["tokens"]
        picture = gr.update(value=attention(source, target, answer["attention"]), visible=True)
    return [str(answer["translation"]), best, picture]
