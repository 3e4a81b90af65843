"""One set of servers for all tests of the flows: they take twenty seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .house import House, house


@pytest.fixture(scope="session")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A clone with servers and workers, in which tests trigger flows."""
    with house(tmp_path_factory.mktemp("house")) as built:
        yield built
