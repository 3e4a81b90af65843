"""What version does a host have? Asked of many files at once, without fetching them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from .remote import (
    Stated,
    TransientError,
    UnreachableError,
    check_protocol,
    errors_of,
    from_environment,
    is_web,
    redacted,
    stated_by,
    without_secrets,
)
from .transfer import Request
from .web import Web

_ATTEMPTS = 3
_BACKOFF = 0.5  # seconds before the second attempt; doubled for the third


def ask_all(requests: Sequence[Request], *, workers: int = 16, idle: float = 15.0) -> list[Stated]:
    """What the hosts say of each request's file, in their order; one whose listing has `stated` it is not asked for.

    `idle`: seconds without an answer until an attempt is given up. Raises UnreachableError where a host does not
    answer, DownloadError where it has no such file.
    """
    web = Web(idle=idle, longest_wait=idle, connections=workers, stop=threading.Event())

    def ask(request: Request) -> Stated:
        if request.stated is not None and request.stated.version.known:
            return request.stated
        url = check_protocol(from_environment(request.url))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return web.ask(url) if is_web(url) else _ask_file_system(url, idle)
            except TransientError as error:
                if attempt == _ATTEMPTS:
                    raise UnreachableError(f"{redacted(url)}: {error}") from None
            time.sleep(_BACKOFF * 2 ** (attempt - 1))
        raise AssertionError

    with without_secrets(r.url for r in requests), closing(web), ThreadPoolExecutor(workers) as pool:
        try:
            return list(pool.map(ask, requests))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ask_file_system(url: str, idle: float) -> Stated:
    import fsspec

    with errors_of(url):
        system, path = fsspec.url_to_fs(url)
        system.invalidate_cache()  # a long-lived process may have asked yesterday
        return stated_by(system.info(path, **({"timeout": idle} if system.async_impl else {})))
