"""The pages lead somewhere, and name nothing that is not there; the one that everybody reads first stays short.

`tests/pipeline/test_documentation.py` runs their commands and their Python.
"""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.dag import locked_stages
from stages.tasks.protocol import Task
from tests.documentation import NOT_RUN, NOT_RUN_PYTHON, PAGES, REPOSITORY, RUN_ELSEWHERE, blocks, commands, inline

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
LINKING = [*PAGES, "CONTRIBUTING.md"]
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)")  # without addresses of the web
PICTURE = re.compile(r'(?:src|srcset)="([^":]+)"')
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
BLOCK = r"(?:source|prepare|model|train|judge|evaluate|register|monitor)"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", LINKING)
def test_every_link_leads_to_a_file_and_a_heading(name: str) -> None:
    page = REPOSITORY / name
    text = page.read_text(encoding="utf-8")
    for file, anchor in [*LINK.findall(text), *((picture, "") for picture in PICTURE.findall(text))]:
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


def test_the_readme_is_read_in_minutes() -> None:
    assert len(README.split()) <= 1300


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_a_page_is_read_at_a_sitting_and_found_from_the_index(page: str) -> None:
    text, index = ((REPOSITORY / one).read_text(encoding="utf-8") for one in (page, "docs/README.md"))
    assert page == "docs/log.md" or len(text.split()) <= 1510
    assert page == "docs/README.md" or f"({page.removeprefix('docs/')})" in index


def texts(page: str) -> list[str]:
    """Every command of the page, in a block or between backticks."""
    return [command for block in blocks(page, "sh") for command in block.commands()] + inline(page)


@cache
def stage_names() -> set[str]:
    return set(locked_stages(REPOSITORY))


@pytest.mark.parametrize("page", PAGES)
def test_every_target_stage_and_module_is_there(page: str) -> None:
    placeholder = re.compile(r"\b(TASK|NAME|STAGE|hand_gesture)\b")
    for text in texts(page):
        if text.startswith("make "):
            assert set(re.findall(r"(?<= )[a-z-]+(?![\w=-])", text)) <= TARGETS, text
        for stage in re.findall(r"\b[a-z]+@[\w{}]+", text) if "dvc " in text else []:
            assert stage in stage_names() or placeholder.search(stage), text
        for module in re.findall(r"python -m ((?:stages|flows|benchmarks|tests)[\w.]*)", text):
            path = REPOSITORY / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), text


@cache
def source() -> str:
    """All code, in which a variable of the environment must be named."""
    code = [path for house in ("stages", "flows", "benchmarks", "tests") for path in (REPOSITORY / house).rglob("*.py")]
    others = [REPOSITORY / "Makefile", *(REPOSITORY / "deploy").glob("*[!.md]")]
    return "\n".join(path.read_text(encoding="utf-8") for path in [*code, *others])


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_of_the_environment_is_read_somewhere(page: str) -> None:
    for name in set(re.findall(r"\bUNROLL_[A-Z_]+\b", (REPOSITORY / page).read_text(encoding="utf-8"))):
        assert name in source() or name.endswith("_PORT"), name  # those are made of a server's name


@cache
def params() -> dict[str, Any]:
    return yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))


def has(block: Any, keys: list[str]) -> bool:
    """Whether nested mappings have these keys."""
    return not keys or (isinstance(block, dict) and keys[0] in block and has(block[keys[0]], keys[1:]))


# The log tells what was, under the names of then.
@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/log.md"])
def test_every_param_is_one_of_params_yaml(page: str) -> None:
    tasks = set(params())
    for text in texts(page):
        for task, path in re.findall(rf"(?<![\w./-])(?:(\w+)\.)?({BLOCK}(?:\.[a-z_]\w*)+)(?!\w|/|\()", text):
            keys = path.split(".")
            if (task and task not in tasks) or keys[-1] in ("py", "log"):
                continue
            assert any(has(params()[name], keys) for name in ({task} if task else tasks)), text


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_yaml_for_params_holds_keys_that_are_there(page: str) -> None:
    for block in blocks(page, "yaml"):
        for task, edits in yaml.safe_load(block.text).items():
            if task in params():
                for name, values in edits.items():
                    settings = Task(task).params_type().model_fields[name.replace("register", "register_")].annotation
                    assert set(values) <= fields(settings), f"{task}.{name}: {values}"


def fields(settings: Any) -> set[str]:
    """The keys of a block, or of any block that it may be."""
    kinds = getattr(settings, "__args__", None) or (settings,)
    return {name for kind in kinds for name in getattr(kind, "model_fields", {})} | {
        name for kind in kinds for name in (fields(kind) if getattr(kind, "__args__", None) else ())
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_python_compiles_and_imports_what_is_there(page: str) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("stages", "flows")):
                assert all(hasattr(import_module(node.module), alias.name) for alias in node.names), ast.unparse(node)


def test_what_no_test_runs_is_on_the_list_and_the_list_holds_nothing_else() -> None:
    found = [command for _, command in commands()]
    assert {pattern for pattern in NOT_RUN if not any(fnmatch(command, pattern) for command in found)} == set()
    assert {page for page in NOT_RUN_PYTHON if not blocks(page, "python")} == set()
    assert {pattern for pattern in RUN_ELSEWHERE if not any(fnmatch(page, pattern) for page in PAGES)} == set()
