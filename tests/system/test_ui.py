"""What a person does in Prefect's UI, done by a headless browser: run with a form, read the report, cancel."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .house import House, Run, stage_processes, wait_until

pytestmark = pytest.mark.system


def open_form(page: Page, flows: House) -> None:
    page.goto(f"{flows.servers.prefect}/deployments")
    page.locator('a[href*="/deployments/deployment/"]', has_text="pipeline").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_text("Tasks to bring up to date").wait_for()


def fill(page: Page, *, only: str) -> None:
    """Take the other tasks out of the list, and let one stage run at a time."""
    for other in {"drawing", "forecast", "sketch", "translation", "video"} - {only}:
        chip = page.locator("span", has_text=re.compile(f"^{other}$")).filter(has=page.locator("button")).last
        chip.locator("button").click()
    page.keyboard.press("Escape")
    page.locator("input[type=number]").last.fill("1")


def submit(page: Page, flows: House) -> Run:
    """Send the form; returns the run that has come into being."""
    newest = {"sort": "ID_DESC", "limit": 200}
    before = {run["id"] for run in flows.post("flow_runs/filter", newest)}
    page.get_by_role("button", name="Submit").click()
    made = wait_until(lambda: {run["id"] for run in flows.post("flow_runs/filter", newest)} - before, "a run")
    return Run(flows, made.pop())


def test_run_with_the_form_and_read_the_report(flows: House, page: Page, tmp_path: Path) -> None:
    open_form(page, flows)
    fill(page, only="forecast")
    run = submit(page, flows)
    page.goto(f"{flows.servers.prefect}/runs/flow-run/{run.id}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=240_000)
    options = run.facts()["parameters"]["options"]
    assert (options["tasks"], options["up_to"], options["parallel"]) == (["forecast"], "register", 1)
    assert {name.partition("@")[2] for name in run.tasks()} == {"forecast"}
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("metrics", exact=True).first.click()
    expect(page.get_by_role("cell", name="forecast").first).to_be_visible()
    page.screenshot(path=tmp_path / "report.png")


# Cancelling without a browser is tested in test_stopping.py.
@pytest.mark.slow
def test_cancel(flows: House, page: Page) -> None:
    overrides = [f"forecast.train.{key}" for key in ("epochs=2000", "patience=2000", "seed=21")]
    options = {"tasks": ["forecast"], "up_to": "train", "where": "here", "overrides": overrides}
    run = flows.start("pipeline/pipeline", options=options)
    page.goto(f"{flows.servers.prefect}/runs/flow-run/{run.id}")
    run.wait_for_task("train@forecast")
    page.reload()
    page.get_by_role("button", name="Cancel", exact=True).first.click()
    page.get_by_role("button", name="Confirm", exact=True).click()
    since = time.monotonic()
    wait_until(lambda: not stage_processes(flows.clone.folder), "no process of a stage", seconds=15)
    assert time.monotonic() - since < 15
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible(timeout=60_000)
    assert run.wait() == "CANCELLED"
