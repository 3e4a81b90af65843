"""One set of servers for all tests of the flows: they take twenty seconds to start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest

from benchmarks.machine import CHROMIUM, free_port, open_browser

from .house import House, house, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A clone with servers and workers, in which tests trigger flows."""
    with house(tmp_path_factory.mktemp("house")) as built:
        yield built


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a headless browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1700})
        page.set_default_timeout(60_000)
        yield page


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a local S3 server with a bucket."""
    address = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", address.rpartition(":")[2]]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(address), "the S3 server")
        assert httpx.put(f"{address}/store").is_success
        yield address
    finally:
        server.kill()
        server.wait()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).status_code < 500
    except httpx.HTTPError:
        return False
