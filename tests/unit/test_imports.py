import pytest

from stages.provenance.imports import closure


@pytest.fixture
def project(tmp_path):
    files = {
        "pack/__init__.py": "",
        "pack/one.py": "import json\nfrom .two import thing\nfrom . import four\n",
        "pack/two.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .three import Only\n"
            "def late():\n    from .sub.deep import x\n"
        ),
        "pack/three.py": "",
        "pack/four.py": "",
        "pack/sub/__init__.py": "",
        "pack/sub/deep.py": "from ..five import y\n",
        "pack/five.py": "from ..outside import nothing\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_all_that_runs_is_found_and_what_only_a_type_checker_sees_is_not(project):
    found = [path.as_posix() for path in closure("pack.one", root=project)]
    names = ["__init__", "five", "four", "one", "sub/__init__", "sub/deep", "two"]
    assert found == [f"pack/{name}.py" for name in names]


def test_a_module_without_a_file_is_refused(project):
    with pytest.raises(ValueError, match=r"pack\.six: no such module"):
        closure("pack.six", root=project)


def test_what_travels_in_a_model_knows_neither_sklearn_nor_prefect():
    from stages.registry.packaging import serving_modules
    from stages.tasks.protocol import Task

    for name in Task.names():
        files = {path.as_posix() for module in serving_modules(Task(name)) for path in closure(module)}
        assert not files & {
            "stages/evaluation/classification.py",
            "stages/training/loop.py",
            "stages/tracking/training_run.py",
            "stages/registry/versions.py",
        }
