"""Each folder of stages/ and flows/ opens with what lives there, what may be touched and what breaks."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = sorted(
    {
        path.parent.relative_to(REPOSITORY)
        for house in ("stages", "flows")
        for path in (REPOSITORY / house).rglob("*.py")
    }
)


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_folder_opens_with_three_to_ten_lines(folder):
    text = ast.get_docstring(ast.parse((REPOSITORY / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert 3 <= len(text.splitlines()) <= 10
