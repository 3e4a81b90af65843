"""The canvas, which Gradio lacks: its sketch pads give pixels, and a drawing here is strokes in their order.

canvas.js is all of it on the page; the value of both components is JSON text, as `strokes.parse` reads it.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_SCRIPT = Path(__file__).with_name("canvas.js").read_text(encoding="utf-8")
_SVG = '<svg viewBox="0 0 256 256" role="img" aria-label="{label}"></svg>'


def pad(label: str) -> gr.HTML:
    """A canvas to draw on. Its value is one drawing, which changes with each stroke."""
    return _html("pad", "[]", f'<div class="pad">{_SVG.format(label=label)}</div>', elem_id="pad")


def gallery(count: int, label: str, *, judged: bool) -> gr.HTML:
    """Canvases that show drawings stroke by stroke. Its value is an object with a list of `drawings`; `select` is
    triggered with the `index` of one that is picked, and, where they can be `judged`, `like` with `liked` beside it.
    """
    buttons = "".join(
        f'<button type="button" disabled data-liked="{liked}">{text}</button>'
        for liked, text in (("true", "Keep"), ("false", "Drop"))
    )
    place = (
        f'<figure><button type="button" disabled class="shown" title="{label}">{_SVG.format(label=label)}</button>'
        f"{f'<figcaption>{buttons}</figcaption>' if judged else ''}</figure>"
    )
    return _html("gallery", "{}", f'<div class="drawings">{place * count}</div>')


def _html(mode: str, value: str, template: str, *, elem_id: str | None = None) -> gr.HTML:
    """A component that the script runs in a `mode` of its own."""
    return gr.HTML(
        value=value, html_template=template, js_on_load=_SCRIPT, apply_default_css=False, mode=mode, elem_id=elem_id
    )
