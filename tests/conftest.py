"""Which tests may run beside which: `make test` runs two processes of tests (pytest-xdist), and what is costly to make
(servers, a finished pipeline, prepared data) is made in one of them only.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of the slow rings a group, which stays in one process; unit tests go where there is room."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder == "system":
            shared = "flows" if "flows" in getattr(item, "fixturenames", ()) else item.path.stem
            item.add_marker(pytest.mark.xdist_group(f"system {shared}"))
        elif folder == "pipeline":
            item.add_marker(pytest.mark.xdist_group("pipeline"))
