"""The tab for clips: their frames, the likeliest classes and, where the version says so, its belief over the clip."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from stages.serving.predictor import shown
from stages.tasks.video.data.decode import ClipError, Decoding, read_clip

from . import examples, pictures
from .context import Context, problem, said
from .models import Refused, Version
from .sides import per_side, two_sides

TASK = "video"
_OVER_TIME = ("over_time", "probabilities_over_time")  # param and column
_STRIP = Decoding(
    size=128,
    channels=3,
    frames=8,
    min_frames=1,
    max_decoded_frames=3000,
    max_pixels=3840 * 2160,
    max_seconds=20,
)


def build(context: Context) -> None:
    """Build the tab inside the block that is open."""
    with gr.Row():
        with gr.Column(min_width=300):
            clip = gr.Video(label="A clip", sources=["upload"], height=260, loop=True, autoplay=True, buttons=[])
            gr.Examples(
                [[str(path)] for path in examples.clips(context.folder)],
                clip,
                label="Examples",
                examples_per_page=8,
            )
            if context.corrections.enabled:
                _build_correction(context, clip)
        sides = context.sides[TASK] = two_sides()
        labels, curves = [], []
        for side in sides:
            with side.body:
                labels.append(gr.Label(label="Most likely classes", num_top_classes=5))
                curves.append(gr.HTML())
    gr.Markdown("Frames, evenly over the clip:", elem_classes="hint")
    strip = gr.Gallery(
        show_label=False,
        columns=8,
        rows=1,
        height=150,
        object_fit="contain",
        buttons=[],
        interactive=False,
        elem_classes="strip",
    )
    clip.change(_frames, clip, strip, queue=False, api_name="frames")
    gr.on(
        [clip.change, context.shown.change],
        partial(_answer, context),
        [clip, context.choice],
        [*labels, *curves],
    )


def _build_correction(context: Context, clip: gr.Video) -> None:
    word, keep = context.label_row(TASK, "It shows …")

    def correct(path: str | None, label: str | None) -> None:
        if not path:
            raise gr.Error("There is no clip.", print_exception=False)
        label = said(label)
        context.correct(TASK, {"label": label, "clip": Path(path)}, label)

    keep.click(correct, [clip, word], None)


def _frames(path: str | None) -> list[Image.Image]:
    if not path:
        return []
    try:
        return [Image.fromarray(frame) for frame in _read(path)]
    except (ClipError, OSError):  # `_answer` says why
        return []


def _read(path: str) -> np.ndarray:
    return read_clip(Path(path), _STRIP).frames


def _answer(context: Context, path: str | None, choice: str) -> list[object]:
    try:
        if path:
            _read(path)
    except (ClipError, OSError) as error:
        gr.Warning(escape(f"{error}"), title="Not a clip", duration=30)
        path = None
    answers = [_ask(version, path) for version in per_side(context.models, TASK, choice)]
    return [*(bars for bars, _ in answers), *(curve for _, curve in answers)]


def _ask(version: Version | None, path: str | None) -> tuple[dict[str, float] | None, str]:
    if version is None or not path:
        return None, ""
    over_time = version.offers(*_OVER_TIME)
    try:
        answer = version.predict([{"path": path}], **({"over_time": True} if over_time else {})).iloc[0]
    except Refused as error:  # its message names the file as this machine has it
        raise problem(str(error).rpartition(f"{shown(path)}: ")[2], "No answer") from None
    names = list(answer["top5_labels"])
    bars = dict(zip(names, map(float, answer["top5_probabilities"]), strict=True))
    if not over_time:
        return bars, ""
    # (time, classes), in the order of the labels
    beliefs = np.array(answer["probabilities_over_time"], dtype=float)
    shares = [(time + 1) / len(beliefs) for time in range(len(beliefs))]
    by_class = [dict(zip(names, map(float, row), strict=False)) for row in beliefs]
    return bars, pictures.belief("Probability over the clip", shares, "the whole clip", by_class)
