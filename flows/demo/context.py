"""What the tabs share: the models, the corrections, and what a visitor has chosen at the top of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from stages.registry.decision import CHAMPION

from .corrections import Corrections, Refusal
from .models import Models
from .sides import Side


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of a page that each tab is built with, and what each adds for the others to find."""

    models: Models
    corrections: Corrections
    folder: Path  # of this page's own files
    choice: gr.Radio  # champion, challenger or both
    # Another text where another version answers (`sides.state`). No gr.State: of what waits in no queue, Gradio's pages
    # notice no change of it.
    shown: gr.Textbox
    sides: dict[str, tuple[Side, Side]] = field(default_factory=dict)  # by task
    classes: list[tuple[str, gr.Dropdown]] = field(default_factory=list)  # a task, and what offers its model's classes

    def class_list(self, task: str, **options: Any) -> gr.Dropdown:
        """A list of the classes that a task's champion knows, which follows the champion."""
        champion = self.models.get(task, CHAMPION)
        made = gr.Dropdown(list(champion.classes) if champion else [], **options)
        self.classes.append((task, made))
        return made

    def label_row(self, task: str, label: str) -> tuple[gr.Dropdown, gr.Button]:
        """A row to say what something is, by a class or another word, and the button that hands it in."""
        with gr.Row(elem_classes="joined"):
            word = self.class_list(task, label=label, allow_custom_value=True, value="", min_width=140)
            keep = gr.Button("Submit", min_width=120, scale=0)
        return word, keep

    def correct(self, task: str, record: Mapping[str, Any], label: str = "") -> None:
        """Hand a correction on and say so on the page, or why it is not taken. `label` is the class that a visitor has
        typed, of which nothing is learned where the model does not know it.
        """
        champion = self.models.get(task, CHAMPION)
        classes = champion.classes if champion else ()
        try:
            is_new = self.corrections.add(task, classes, record)
        except Refusal as error:
            raise problem(error, "Not kept") from None
        known = "" if not label or label in classes else " The model has no such class, so it learns nothing from it."
        gr.Info(f"It {'was' if is_new else 'had already been'} saved.{known}", title="Thank you", duration=4)


def problem(reason: object, title: str) -> gr.Error:
    """A message on the page. Gradio shows messages as HTML, and a reason may quote what a visitor sent."""
    return gr.Error(escape(str(reason)), title=title, duration=30, print_exception=False)


def said(label: str | None) -> str:
    """What a visitor calls something. Raises gr.Error where that is nothing."""
    if not isinstance(label, str) or not label.strip():
        raise gr.Error("Say what it is.", print_exception=False)
    return label.strip()
