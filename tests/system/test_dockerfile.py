"""deploy/Dockerfile, each instruction executed in a bare root: as its user, with its variables, in its folder."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from .bare_root import BASE_PATH, BareRoot, refusal

pytestmark = [pytest.mark.system, pytest.mark.slow]
REPOSITORY = Path(__file__).resolve().parents[2]
TORCH_HOST = "download.pytorch.org"  # where UV_TORCH_BACKEND sends uv
MODULES = "torch, prefect, mlflow, prefect_docker, prefect_kubernetes"
SECRET = secrets.token_hex(16)
ORIGIN = "/srv/origin"  # in the image; a real one is an address


@dataclass
class Image:
    """What a container would start from."""

    root: BareRoot
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    user: str = "0:0"
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(self, *command: str) -> str:
        """As `docker run IMAGE COMMAND`; without a command, the image's own."""
        whole = [*self.entrypoint, *(command or self.command)]
        return self.root.run(whole, self.environment, folder=self.folder, user=self.user)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of the working tree, with an origin that has one commit more."""
    if reason := refusal():
        pytest.skip(reason)
    without = set() if _can_reach(TORCH_HOST) else {"UV_TORCH_BACKEND"}
    if without and not list(Path(os.environ.get("PIP_FIND_LINKS", "/nowhere")).glob("torch-*+cpu-*.whl")):
        pytest.skip(f"{TORCH_HOST} cannot be reached, and pip has no other torch for CPUs")
    folder = tmp_path_factory.mktemp("image")
    try:
        _clone(folder / "context")
        _newer_origin(folder / "context", folder / "origin")
        with BareRoot(folder / "bare") as root:
            image = Image(root)
            _build(image, folder / "context", {"ORIGIN": ORIGIN}, without)
            root.run(["mkdir", "--parents", ORIGIN], {})
            root.copy(_tar(folder / "origin"), [], ORIGIN, image.user)
            yield image
    finally:
        shutil.rmtree(folder)


def test_the_image_runs_what_it_is_for(image):
    assert image.run("python", "-c", f"import {MODULES}; print('imported')").strip() == "imported"
    assert "python -m flows.plan" in image.run("python", "-m", "flows.plan", "--help")
    assert image.run("dvc", "--version").startswith("3.")
    assert image.run("prefect", "--version").startswith("3.8")
    assert "make repro" in image.run()  # the command of `docker run unroll`
    assert image.run("which", "python", "dvc", "prefect", "mlflow").splitlines() == [
        f"/unroll/.venv/bin/{tool}" for tool in ("python", "dvc", "prefect", "mlflow")
    ]


def test_make_takes_the_environment_as_it_is(image):
    """So `docker run unroll make repro` starts with the pipeline."""
    assert "Nothing to be done" in image.run("make", "environment")


def test_the_user_is_nobody_special_and_owns_what_it_works_with(image):
    assert image.run("id", "--user", "--name").strip() == "unroll"
    assert image.run("find", "/unroll", "/resume", "!", "-user", "unroll").strip() == ""
    image.run("touch", "/resume/state", "/unroll/.dvc/cache/file")
    with pytest.raises(AssertionError, match="Permission denied"):
        image.run("touch", "/usr/file")


def test_a_stage_can_have_a_worktree_of_a_commit_that_is_newer_than_the_image(image):
    assert image.run("git", "status", "--short").strip() == ""
    image.run("git", "fetch", "--quiet", "origin")
    image.run("git", "worktree", "add", "--quiet", "/unroll/.dvc/tmp/worktree", "origin/newer")
    assert image.run("cat", "/unroll/.dvc/tmp/worktree/newer.txt").strip() == "newer"


def test_no_secret_of_the_checkout_is_in_the_image(image):
    search = f"grep --recursive --files-with-matches {SECRET} /unroll --exclude-dir=.venv || echo none"
    assert image.run("sh", "-c", search).strip() == "none"


def test_a_container_that_is_stopped_tells_the_stage_first(image):
    """The signal goes through tini and the supervisor; what the stage says at the end still comes out."""
    stage = "trap 'echo saved; exit 75' TERM; echo started; while :; do sleep 0.1; done"
    command = [*image.entrypoint, "python", "-m", "flows.execution.supervisor", "sh", "-c", stage]
    whole = image.root.command(command, image.environment, image.folder, image.user)
    running = subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == "started"
        (tini,) = [each for each in psutil.Process(running.pid).children(recursive=True) if each.name() == "tini"]
        started = time.monotonic()
        tini.send_signal(signal.SIGTERM)
        printed, _ = running.communicate(timeout=20)
        assert printed.strip() == "saved"
        assert time.monotonic() - started < 8
        assert running.returncode == 75
    finally:
        running.kill()
        running.wait()


def _build(image: Image, context: Path, arguments: Mapping[str, str], without: set[str]) -> None:
    """Execute the Dockerfile; `without` are arguments that this machine's network cannot serve."""
    from dockerfile_parse import DockerfileParser

    lines = (context / ".dockerignore").read_text("utf-8").splitlines()
    archive = _tar(context, [line for line in lines if line[:1] not in ("", "#")])
    file = str(context / "deploy/Dockerfile")
    parser = DockerfileParser(file, cache_content=True, parent_env=image.environment, build_args=dict(arguments))
    base, *steps = [
        (step["instruction"], step["value"], each)
        for step, each in zip(parser.structure, parser.context_structure, strict=True)
        if step["instruction"] != "COMMENT"
    ]
    assert base[:2] == ("FROM", "python:3.12-slim")
    for instruction, value, variables in steps:
        given = {name: text for name, text in variables.args.items() if name not in without}
        image.environment.update(variables.envs)
        match instruction:
            case "RUN":
                shell = ["/bin/sh", "-c", value]
                image.root.run(shell, {**given, **image.environment}, folder=image.folder, user=image.user)
            case "COPY":
                owner, *sources, target = shlex.split(value)
                name, _, group = owner.removeprefix("--chown=").partition(":")
                assert group == name
                assert target in (".", "./")
                members = [] if sources == ["."] else sources
                image.root.copy(archive, members, image.folder, image.root.identity(name))
            case "USER":
                image.user = value
            case "WORKDIR":
                image.folder = value
            case "ENTRYPOINT":
                image.entrypoint = json.loads(value)
            case "CMD":
                image.command = json.loads(value)
            case "ENV" | "ARG":
                pass
            case _:
                pytest.fail(f"this test does not know how to execute {instruction}")


def _tar(folder: Path, without: list[str] | None = None) -> Path:
    """What Docker's client sends of a folder, but for these patterns of .dockerignore."""
    from docker.utils.build import tar

    archive = folder.with_suffix(".tar")
    with archive.open("wb") as file:
        tar(str(folder), exclude=without, fileobj=file)
    return archive


def _git(folder: Path, *arguments: str) -> str:
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run([*git, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def _clone(folder: Path) -> None:
    """A clone of the working tree as it is, with the secrets that a checkout can have."""
    _git(REPOSITORY, "clone", "--quiet", "--no-local", ".", str(folder))
    for name in _git(REPOSITORY, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", "as it is")
    (folder / ".dvc/config.local").write_text(f"['remote \"storage\"']\n    password = {SECRET}\n", encoding="utf-8")
    _git(folder, "remote", "set-url", "origin", f"https://user:{SECRET}@example.org/unroll")


def _newer_origin(context: Path, folder: Path) -> None:
    """A repository with the context's commits and one more, on the branch `newer`."""
    _git(context, "clone", "--quiet", "--no-local", ".", str(folder))
    _git(folder, "switch", "--quiet", "--create", "newer")
    (folder / "newer.txt").write_text("newer\n", encoding="utf-8")
    _git(folder, "add", "newer.txt")
    _git(folder, "commit", "--quiet", "--message", "newer")


def _can_reach(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True
