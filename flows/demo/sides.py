"""Two sides of a tab: what the champion answers, and beside it, where a visitor wants both, the challenger."""

from __future__ import annotations

import html
from collections.abc import Sequence

import gradio as gr

from stages.registry.decision import CHAMPION

from .models import Models, Version, aliases


class Side:
    """One column of answers, under the version that gives them; a tab's own components stand in `body`."""

    def __init__(self, first: bool) -> None:
        with gr.Column(visible=first, min_width=260) as self.column:
            self.heading = gr.HTML()
            with gr.Column(elem_classes="answer") as self.body:
                pass
            with gr.Accordion("Model card", open=False, visible=False) as self.fold:
                self.card = gr.Markdown(elem_classes="card")

    @property
    def outputs(self) -> list[gr.components.Component]:
        """What `updates` says anew."""
        return [self.column, self.heading, self.fold, self.card]


def two_sides() -> tuple[Side, Side]:
    """The sides of a tab, in the row that is being built."""
    return Side(first=True), Side(first=False)


def updates(models: Models, task: str, choice: str) -> list[object]:
    """What the `outputs` of both sides of a task become for a choice."""
    found: list[object] = []
    for alias in _both(choice):
        version = models.get(task, alias)
        card = version.card if version else ""
        heading = _heading(models, task, alias) if alias else ""
        found += [gr.update(visible=bool(alias)), heading, gr.update(visible=bool(card)), card]
    return found


def state(models: Models, tasks: Sequence[str], choice: str) -> str:
    """What the page shows answers of: another text where a version has moved, or another choice was made."""
    numbers = [getattr(models.get(task, alias), "number", "none") for task in tasks for alias in aliases(choice)]
    return " ".join([choice, str(models.ready), *numbers])


def per_side(models: Models, task: str, choice: str) -> list[Version | None]:
    """The version of each of the two sides; None for a side that is not shown or has no version."""
    return [models.get(task, alias) for alias in _both(choice)]


def _both(choice: str) -> list[str]:
    """The alias of each side; empty for a side that is not shown."""
    shown = aliases(choice)
    return [*shown, *[""] * (2 - len(shown))]


def _heading(models: Models, task: str, alias: str) -> str:
    version, name = models.get(task, alias), html.escape(models.names[task])
    if version is None:
        advice = "“make repro” makes one" if alias == CHAMPION else "the next version that is registered becomes it"
        text = f"{name} has none yet: {advice}" if models.ready else f"loading {name} …"
        return f'<div class="version"><b>{alias}</b><span>{text}</span></div>'
    twin = alias != CHAMPION and _is_champion(models, task, version)
    same = "<span>the same version as the champion</span>" if twin else ""
    return (
        f'<div class="version"><b>{alias}</b>'
        f"<span>{html.escape(version.name)} version {html.escape(version.number)}</span>"
        f"<span>{html.escape(version.metric)}</span>{same}</div>"
    )


def _is_champion(models: Models, task: str, version: Version) -> bool:
    champion = models.get(task, CHAMPION)
    return champion is not None and champion.number == version.number
