"""What a person does in Prefect's UI, done by a headless browser: run with a form, read the report, cancel."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from .house import House, Run, stage_processes, wait_until

pytestmark = pytest.mark.system
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHOUT_NETWORK = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--no-first-run", *WITHOUT_NETWORK]
        )
        page = browser.new_page(viewport={"width": 1300, "height": 1700})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def field(page: Page, description: str) -> Locator:
    """The innermost box of the form that holds this description, and with it the input."""
    return page.locator("div", has=page.get_by_text(description, exact=True)).filter(has=page.locator("fieldset")).last


def run_of(page: Page, flows: House) -> Run:
    page.wait_for_url(re.compile("/runs/flow-run/"))
    return Run(flows, page.url.rstrip("/").rpartition("/")[2].partition("?")[0])


def open_form(page: Page, flows: House) -> None:
    page.goto(f"{flows.servers.prefect}/deployments")
    page.locator('a[href*="/deployments/deployment/"]', has_text="pipeline").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    page.get_by_text("Tasks to bring up to date").wait_for()


def choose(page: Page, *, only: str, up_to: str) -> None:
    """Take the other tasks out of the list, and choose the last stage."""
    for other in {"forecast", "sketch", "translation", "video"} - {only}:
        chip = page.locator("span", has_text=re.compile(f"^{other}$")).filter(has=page.locator("button")).last
        chip.locator("button").click()
    page.keyboard.press("Escape")
    field(page, "The last stage of each task").get_by_role("button").last.click()
    page.get_by_text(up_to, exact=True).last.click()


def submit(page: Page, flows: House) -> Run:
    page.get_by_role("button", name="Submit").click()
    # A note with a link to the run is shown, and the page of the deployment.
    page.get_by_role("link", name=re.compile("View run|pipeline")).last.wait_for()
    newest = {"sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    return Run(flows, flows.post("flow_runs/filter", newest)[0]["id"])


def test_run_with_the_form_and_read_the_report(flows: House, page: Page, tmp_path: Path) -> None:
    open_form(page, flows)
    choose(page, only="forecast", up_to="preprocess")
    run = submit(page, flows)
    page.goto(f"{flows.servers.prefect}/runs/flow-run/{run.id}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible(timeout=180_000)
    assert set(run.tasks()) == {"download@forecast", "preprocess@forecast"}
    page.get_by_role("tab", name="Artifacts").or_(page.get_by_role("button", name="Artifacts")).first.click()
    page.get_by_text("plan", exact=True).first.click()
    expect(page.get_by_role("cell", name="preprocess@forecast")).to_be_visible()
    page.screenshot(path=tmp_path / "plan.png")


def test_cancel(flows: House, page: Page) -> None:
    overrides = [f"forecast.train.{key}" for key in ("epochs=2000", "patience=2000", "seed=21")]
    choice = {"tasks": ["forecast"], "up_to": "train", "where": "here", "overrides": overrides}
    run = flows.start("pipeline/pipeline", choice=choice)
    page.goto(f"{flows.servers.prefect}/runs/flow-run/{run.id}")
    run.wait_for_task("train@forecast")
    page.reload()
    page.get_by_role("button", name="Cancel", exact=True).first.click()
    page.get_by_role("button", name="Cancel", exact=True).last.click()  # are you sure?
    since = time.monotonic()
    wait_until(lambda: not stage_processes(flows.clone.folder), "no process of a stage", seconds=15)
    assert time.monotonic() - since < 15
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible(timeout=60_000)
    assert run.wait() == "CANCELLED"
