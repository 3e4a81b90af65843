"""The page: a tab a task, and at the top whose answers are shown."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import gradio as gr

from . import drawing, forecast, sketch, translation, video
from .context import Context
from .corrections import Corrections
from .models import ALIASES, BOTH, Models
from .sides import state, updates

TASKS = (sketch.TASK, drawing.TASK, video.TASK, translation.TASK, forecast.TASK)
_LOOK_SECONDS = 4.0  # between two looks of an open page at what the aliases name
_KEPT_SECONDS = 3600  # that files of visitors stay

CSS = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
# The system's own letters: others would be loaded from elsewhere.
THEME = gr.themes.Soft(
    primary_hue="teal",
    secondary_hue="teal",
    neutral_hue="slate",
    radius_size="md",
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    body_background_fill="*neutral_50",  # as dark has it, so that fields stand out from the page
    block_title_background_fill="none",
    block_title_padding="0",
    block_title_text_color="*body_text_color_subdued",
    block_label_background_fill="*block_background_fill",
    block_label_background_fill_dark="*block_background_fill",
    block_label_text_color="*body_text_color_subdued",
    block_label_text_color_dark="*body_text_color_subdued",
)


def build(models: Models, corrections: Corrections, folder: Path) -> gr.Blocks:
    """The page over loaded models; `folder` is for its own files, and lies where Gradio keeps visitors'."""
    with gr.Blocks(title="Unroll", analytics_enabled=False, delete_cache=(600, _KEPT_SECONDS), fill_width=True) as page:
        with gr.Row(elem_classes="top"):
            gr.HTML("<h1>Unroll</h1><p>Try the registered models.</p>", min_width=200)
            choice = gr.Radio([*ALIASES, BOTH], value=ALIASES[0], label="Model", min_width=300)
        shown = gr.Textbox(visible="hidden")
        fault = gr.HTML(visible=False, elem_classes="fault")
        context = Context(models=models, corrections=corrections, folder=folder, choice=choice, shown=shown)
        with gr.Tabs() as tabs:
            with gr.Tab("Sketch", id=sketch.TASK):
                pad = sketch.build(context)
            with gr.Tab("Drawing", id=drawing.TASK):
                drawing.build(context, pad, tabs)
            with gr.Tab("Video", id=video.TASK):
                video.build(context)
            with gr.Tab("Translation", id=translation.TASK):
                translation.build(context)
            with gr.Tab("Forecast", id=forecast.TASK):
                forecast.build(context)
        lists = [offered for _, offered in context.classes]
        described = [part for task in TASKS for side in context.sides[task] for part in side.outputs]
        gr.on(
            [page.load, choice.change, gr.Timer(_LOOK_SECONDS).tick],
            partial(_refresh, context),
            [choice, context.shown],
            [context.shown, fault, *lists, *described],
            queue=False,
            api_name="refresh",
            show_progress="hidden",
        )
    return page


def _refresh(context: Context, choice: str, shown: str) -> object:
    """Say anew which versions answer, where that has changed."""
    models = context.models
    now = f"{state(models, TASKS, choice)} {models.fault}"
    if now == shown:
        return gr.skip()
    fault = gr.update(value=escape(models.fault), visible=bool(models.fault))
    champions = [models.get(task, ALIASES[0]) for task, _ in context.classes]
    lists = [gr.update(choices=list(champion.classes) if champion else []) for champion in champions]
    return [now, fault, *lists, *(part for task in TASKS for part in updates(models, task, choice))]
