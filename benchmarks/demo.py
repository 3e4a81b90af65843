"""How fast the page to try the models on answers: one visitor in a browser, then many at once, who ask over HTTP.

    python -m benchmarks.demo                              a browser, then 20 visitors for a minute, three times
    python -m benchmarks.demo --visitors 40 --seconds 30 --rounds 5

It starts a page of its own over the registry of this checkout. The browser draws with the mouse: a stroke's time is
from the end of the stroke until its bars are painted. Each of the many draws a stroke about once a second, and looks
for moved aliases as an open page does. They come in several rounds, with a pause after each: the memory of the page's
process is looked at each second, and told as the median of each round and pause, so that a leak shows as a rise from
round to round; each round's visitors are new, and the page keeps the state of the last 200. Needs Gradio (`make demo`),
Chromium and the prepared data of `sketch`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import psutil

from flows.demo.examples import Drawings

from . import command
from .data import REPOSITORY
from .machine import free_port, open_browser

_START_SECONDS = 300.0
_STROKES, _FIRST = 60, 5  # of the browser, and how many before them do not count
_PATIENCE = 5000.0  # milliseconds for the bars of a stroke
_PAUSE_SECONDS = 10.0
# The bars are their values: what else stands in their box, such as the seconds that Gradio counts while it waits, is no
# answer. A stroke that leaves all of them as they were has no time.
_WATCH = """() => {
  window.times = [];
  let ended = null, before = '';
  const bars = () => [...document.querySelectorAll('#bars meter')].map(bar => bar.ariaLabel + bar.style.width).join();
  const svg = document.querySelector('#pad svg');
  svg.addEventListener('pointerup', () => { ended = performance.now(); before = bars(); }, true);
  new MutationObserver(() => {
    if (ended === null || bars() === before || !bars()) return;
    const began = ended;
    ended = null;
    requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - began)));  // they are painted
  }).observe(document.querySelector('#bars'), {subtree: true, childList: true, attributes: true});
}"""


class Page:
    """A page of its own, on a free port, with all models loaded."""

    def __enter__(self) -> Page:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        arguments = [sys.executable, "-m", "flows.demo", "--port", str(port), "--corrections", "off"]
        self.process = subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        self._wait(lambda: httpx.get(self.address).is_success)
        dependencies = httpx.get(f"{self.address}/config").json()["dependencies"]
        self._functions = {found["api_name"]: found["id"] for found in dependencies}
        self._wait(lambda: self.ask("answer_sketch", "[[[0, 90], [0, 90]]]", "champion")["data"][0] is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def ask(self, name: str, *inputs: object) -> Any:
        """What a function of the page that waits in no queue answers. Raises httpx.HTTPError where it does not."""
        body = {"data": inputs, "fn_index": self._functions[name], "session_hash": f"v{threading.get_ident()}"}
        return httpx.post(f"{self.address}/gradio_api/run/predict", json=body, timeout=60).raise_for_status().json()

    def megabytes(self) -> float:
        """The memory of the process."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("the page ended; `python -m flows.demo` says why")
            try:
                if ready():
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        raise RuntimeError(f"the page has not answered within {_START_SECONDS:g} s")


def browse(page: Page) -> list[float]:
    """Milliseconds from the end of a stroke to the bars, of strokes that a browser draws."""
    from playwright.sync_api import TimeoutError

    with open_browser() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 1000})
        tab.goto(page.address)
        tab.locator(".version").first.wait_for()
        box = tab.locator("#pad svg").bounding_box()
        assert box is not None
        tab.evaluate(_WATCH)
        for number in range(_STROKES + _FIRST):
            if number % 8 == 0:
                tab.get_by_role("button", name="Clear", exact=True).click()
                tab.wait_for_timeout(1000)
            start = [random.uniform(0.1, 0.9) for _ in range(2)]
            tab.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
            tab.mouse.down()
            for _ in range(12):
                start = [min(max(part + random.uniform(-0.1, 0.1), 0.02), 0.98) for part in start]
                tab.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
            seen = tab.evaluate("() => window.times.length")
            tab.mouse.up()
            with suppress(TimeoutError):
                tab.wait_for_function("seen => window.times.length > seen", arg=seen, timeout=_PATIENCE)
            tab.wait_for_timeout(300)
        times: list[float] = tab.evaluate("() => window.times")
    return times[_FIRST:]


def visit(page: Page, until: float, seed: int, seconds: dict[str, list[float]], errors: list[str]) -> None:
    """One of the many, until the time is over."""
    lot = random.Random(seed)
    examples = Drawings()
    while time.monotonic() < until:
        strokes = json.loads(examples.any_of(lot.choice(list(examples.classes))))
        for count in range(1, len(strokes) + 1):
            if time.monotonic() > until:
                return
            questions: list[tuple[str, tuple[object, ...]]] = [
                ("answer_sketch", (json.dumps(strokes[:count]), "champion"))
            ]
            if count % 4 == 0:
                questions.append(("refresh", ("champion", None)))
            for name, inputs in questions:
                began = time.monotonic()
                try:
                    page.ask(name, *inputs)
                    seconds[name].append(time.monotonic() - began)
                except httpx.HTTPError as error:
                    errors.append(f"{name}: {error}")
            time.sleep(lot.uniform(0.5, 1.5))


class Memory:
    """The memory of a page, looked at each second while the block is open."""

    def __init__(self, page: Page) -> None:
        self._page, self.samples = page, list[float]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            self.samples.append(self._page.megabytes())
            self._over.wait(1.0)


def crowd(page: Page, visitors: int, seconds: float, rounds: int) -> dict[str, Any]:
    """What visitors of several rounds met, and the memory of the page meanwhile; printed as well."""
    took, errors = defaultdict[str, list[float]](list), list[str]()
    memory: list[dict[str, list[float]]] = []
    for number in range(rounds):
        with Memory(page) as asked:
            until = time.monotonic() + seconds
            seeds = range(number * visitors, (number + 1) * visitors)
            many = [threading.Thread(target=visit, args=(page, until, seed, took, errors)) for seed in seeds]
            for one in many:
                one.start()
            for one in many:
                one.join()
        with Memory(page) as idle:
            time.sleep(_PAUSE_SECONDS)
        memory.append({"asked": asked.samples, "idle": idle.samples})
        medians, most = [np.median(samples) for samples in memory[-1].values()], max(asked.samples)
        print(f"round {number + 1}: memory {medians[0]:.0f} MB (at most {most:.0f}), {medians[1]:.0f} MB after it")
    figures: dict[str, Any] = {"visitors": visitors, "seconds": seconds, "errors": len(errors), "megabytes": memory}
    for name, values in sorted(took.items()):
        p50, p95 = np.percentile(np.array(values) * 1000, [50, 95])
        print(f"{visitors} visitors: {name}: {len(values)} answers, {p50:.0f} ms (p50), {p95:.0f} ms (p95)")
        figures[name] = {"answers": len(values), "p50": p50, "p95": p95}
    print(f"errors: {len(errors)} {errors[:3] or ''}")
    return figures


def main() -> None:
    """The command line."""
    parser = command.parser("demo", __doc__)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a round; default: %(default)g")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with Page() as page:
        times = browse(page)
        p50, p95 = np.percentile(times, [50, 95])
        print(f"one visitor: bars of {len(times)} of {_STROKES} strokes after {p50:.0f} ms (p50), {p95:.0f} ms (p95)")
        print(f"memory before the others come: {page.megabytes():.0f} MB")
        figures = crowd(page, args.visitors, args.seconds, args.rounds)
    command.write(args.json, {"one": {"strokes": len(times), "p50": p50, "p95": p95}, **figures})


if __name__ == "__main__":
    main()
