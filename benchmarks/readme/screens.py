"""Photographs of the pages: Prefect's of a flow run, MLflow's of the models, and the one to try the models on.

Real servers over a temporary copy of this checkout, on free ports of 127.0.0.1, stopped afterwards. The copy gets the
cache, too, so that `make repro` there only registers.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from flows.server.servers import Servers
from stages.tracking.pages import version_page

from ..data import REPOSITORY
from ..machine import free_port, open_browser
from .record import THEMES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_SCALE = 1.5  # pixels of the picture a pixel of the page
_PATIENCE = 90_000  # milliseconds for what a busy machine does
_RUN_SECONDS = 3600  # on a machine that others use, too
# What MLflow's page keeps of a person's choices (MLflow 3.17): no introductions, no panel at its side.
_MLFLOW_CHOICES = {
    "_mlflow_model_registry_promo_modal_dismissed_v1": "true",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
_MODEL = "sketch-classifier"
# Of the page to try the models on: a tab, what is clicked there, and what the answer holds.
_TABS = (
    ("Sketch", "button:text-is('Show one')", ".chart text"),
    ("Drawing", "button:text-is('Draw four')", ".drawings polyline"),
    ("Video", ".gallery-item", ".chart text"),
    ("Translation", ".gallery-item", ".chart rect"),
    ("Forecast", ".gallery-item", ".chart .band"),
)
_DRAWN = "umbrella"  # the class that the sample's generator draws best
_PHONE, _GAP = (390, 1120), 12
_BETWEEN = {"light": "#d4d4d8", "dark": "#3f3f46"}


def photographs(pages: Sequence[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each page as PNG by theme."""
    if "demo" in pages and find_spec("gradio") is None:
        raise SystemExit("unroll: readme: demo: Gradio is not installed; `make demo` installs it")
    with tempfile.TemporaryDirectory(prefix="unroll-readme-") as folder, _house(Path(folder) / "unroll") as servers:
        yield from photographed(servers, pages)


def photographed(servers: Servers, pages: Sequence[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The same, of servers that run."""
    makers: dict[str, Callable[[Browser, str, Servers], bytes]] = {
        "prefect": _prefect,
        "mlflow": _mlflow,
        "demo": _demo,
    }
    if "prefect" in pages:
        _run_flow(servers)
    with open_browser() as browser:
        for name in pages:
            yield name, {theme: makers[name](browser, theme, servers) for theme in THEMES}


@contextmanager
def _house(folder: Path) -> Iterator[Servers]:
    """Servers of a copy in which the pipeline is up to date."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in _command(listing, REPOSITORY).splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    _command(["git", "init", "--quiet"], folder)
    _command(["git", "add", "--all"], folder)
    identity = ["-c", "user.name=Unroll", "-c", "user.email=unroll@example.org"]
    _command(["git", *identity, "commit", "--quiet", "--message", "the checkout as it is"], folder)
    shutil.copytree(REPOSITORY / ".dvc/cache", folder / ".dvc/cache", dirs_exist_ok=True)
    _command([sys.executable, "-m", "dvc", "checkout", "--quiet", "--allow-missing"], folder)
    _command([sys.executable, "-m", "stages.repro"], folder)
    demo = free_port() if find_spec("gradio") else None
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder)
    servers = Servers(folder, prefect_port=free_port(), mlflow_port=free_port(), demo_port=demo)
    try:
        servers.up()
        yield servers
    finally:
        servers.down()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _run_flow(servers: Servers) -> None:
    """A run of the pipeline beside the checkout: three tasks are trained for two epochs, the others are Cached."""
    api = f"{servers.prefect}/api"
    deployment = httpx.get(f"{api}/deployments/name/pipeline/pipeline").raise_for_status().json()["id"]
    overrides = [f"{task}.train.epochs=2" for task in ("sketch", "drawing", "forecast")]
    body = {"name": "two-epochs", "parameters": {"options": {"overrides": overrides, "where": "here", "parallel": 2}}}
    run = httpx.post(f"{api}/deployments/{deployment}/create_flow_run", json=body).raise_for_status().json()["id"]
    deadline = time.monotonic() + _RUN_SECONDS
    while (state := _state(api, run)) not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        if time.monotonic() > deadline:
            raise SystemExit(f"unroll: readme: the flow run has not ended within {_RUN_SECONDS} s")
        time.sleep(2)
    if state != "COMPLETED":
        raise SystemExit(f"unroll: readme: the flow run ended as {state}; {servers.folder} holds the logs")


def _state(api: str, run: str) -> str:
    answer = httpx.get(f"{api}/flow_runs/{run}", timeout=30)
    # 503: another process writes Prefect's SQLite file.
    return "" if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else str(answer.json()["state_type"])


def _prefect(browser: Browser, theme: str, servers: Servers) -> bytes:
    page = _page(browser, theme, 1180, 500, {"color-scheme": json.dumps(theme)})  # Prefect's own choice is dark
    newest = {"sort": "START_TIME_DESC", "limit": 1}
    (run,) = httpx.post(f"{servers.prefect}/api/flow_runs/filter", json=newest, timeout=30).raise_for_status().json()
    page.goto(f"{servers.prefect}/runs/flow-run/{run['id']}")
    page.get_by_text("Completed", exact=True).first.wait_for()
    return _picture(page, seconds=20)


def _mlflow(browser: Browser, theme: str, servers: Servers) -> bytes:
    dark = json.dumps(theme == "dark")
    choices = {"_mlflow_dark_mode_toggle_enabled": dark, "databricks-dark-mode-pref": theme}
    page = _page(browser, theme, 1180, 575, _MLFLOW_CHOICES | choices)
    page.goto(version_page(_MODEL, "1", servers.mlflow))
    page.get_by_text("top5_accuracy").first.wait_for()
    return _picture(page)


def _demo(browser: Browser, theme: str, servers: Servers) -> bytes:
    """The five tabs side by side, as a phone shows them."""
    page = _page(browser, theme, *_PHONE, {}, scale=1)
    page.goto(f"{servers.demo}/?__theme={theme}")
    page.get_by_text(f"{_MODEL} version").wait_for()
    tabs = []
    for name, ask, answer in _TABS:
        page.get_by_role("tab", name=name).click()
        if name == "Drawing":
            page.get_by_label("Draw a …").fill(_DRAWN)
            page.keyboard.press("Enter")
        page.locator(ask).filter(visible=True).first.click()
        page.locator(answer).filter(visible=True).first.wait_for()
        _settle(page)
        tabs.append(page.screenshot())
    page.close()
    width, height = _PHONE
    beside = Image.new("RGB", (len(tabs) * (width + _GAP) - _GAP, height), _BETWEEN[theme])
    for number, tab in enumerate(tabs):
        with Image.open(io.BytesIO(tab)) as image:
            beside.paste(image.convert("RGB"), (number * (width + _GAP), 0))
    beside.save(content := io.BytesIO(), format="png")
    return content.getvalue()


def _page(
    browser: Browser, theme: str, width: int, height: int, choices: Mapping[str, str], *, scale: float = _SCALE
) -> Page:
    """A page of this size in pixels, whose local storage holds `choices` as a person who comes back has made them."""
    scheme: Any = theme
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=scale)
    page.set_default_timeout(_PATIENCE)
    page.add_init_script(f"for (const [k, v] of Object.entries({json.dumps(choices)})) localStorage.setItem(k, v)")
    return page


def _picture(page: Page, *, seconds: float = 5) -> bytes:
    """What the page looks like once it has come to rest."""
    _settle(page, seconds=seconds)
    taken = page.screenshot()
    page.close()
    return taken


def _settle(page: Page, *, seconds: float = 5) -> None:
    """Wait until animations are over, and what the page loads by and by is there."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(1000 * seconds)


def _command(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"unroll: readme: {' '.join(command)}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout
