"""A root file system of its own for a Dockerfile's instructions, where there is no container engine.

It stands for a slim Debian image with Python in /usr/local: /usr, /etc and /var of this machine under an overlay that
takes all that is written, the system's users, this Python, and nothing else. The mounts end with the process that holds
them, whatever happens to the tests; each command is the first process of a process namespace, as in a container.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}  # minor numbers, linux/Documentation/devices.txt
NETWORK = ("PIP_", "UV_", "SSL_", "CURL_CA", "REQUESTS_CA", "http_proxy", "https_proxy", "no_proxy")


class BareRoot:
    """A context in which commands run in a root file system of their own, as root or as another user."""

    def __init__(self, folder: Path) -> None:
        """`folder` becomes the root's; it may grow by some gigabytes, and is removed at the end."""
        self._folder = folder
        self._root = folder / "root"

    def __enter__(self) -> BareRoot:
        # cat ends when our end of its standard input does, and with it, the mounts
        hold = ["unshare", "--mount", "--propagation=private", "sh", "-c", "echo ready && exec cat"]
        self._holder = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert self._holder.stdout is not None
            assert self._holder.stdout.readline() == b"ready\n", "unshare was refused"
            self._prepare()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=60)
        self._holder.stdout.close()
        shutil.rmtree(self._folder)

    def command(self, command: Sequence[str], environment: Mapping[str, str], folder: str, user: str) -> list[str]:
        """The command that runs `command` in there, with these variables and those of the package index only."""
        ids = user.split(":")
        home = next((line.split(":")[5] for line in self._read("etc/passwd") if line.split(":")[2] == ids[0]), "/")
        given = {"PATH": BASE_PATH, "HOME": home, **_package_index(), **environment}
        variables = [f"{name}={value}" for name, value in given.items()]
        first = ["unshare", "--pid", "--fork", "--kill-child", f"--mount-proc={self._root}/proc"]
        inside = ["chroot", f"--userspec={user}", str(self._root), "env", "--ignore-environment", f"--chdir={folder}"]
        return [*self._enter(), *first, *inside, *variables, *command]

    def run(self, command: Sequence[str], environment: Mapping[str, str], folder: str = "/", user: str = "0:0") -> str:
        """Run a command in there; returns what it printed. A status other than 0 is an error."""
        whole = self.command(command, environment, folder, user)
        done = subprocess.run(whole, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def copy(self, archive: Path, members: Sequence[str], folder: str, user: str) -> None:
        """Unpack files of an archive into a folder, as this user's and as if they were new. No members: all."""
        with tarfile.open(archive) as packed:
            chosen = [packed.getmember(name) for name in members] if members else packed.getmembers()
            for member in chosen:
                member.uid, member.gid = (int(part) for part in user.split(":"))
                member.uname = member.gname = ""
                member.mtime = time.time()
            packed.extractall(self._path(folder), members=chosen, filter="tar", numeric_owner=True)

    def identity(self, name: str) -> str:
        """The numbers of a user and its group."""
        (line,) = [line for line in self._read("etc/passwd") if line.startswith(f"{name}:")]
        return ":".join(line.split(":")[2:4])

    def _prepare(self) -> None:
        for name in ("root", "usr", "etc", "var"):
            (self._folder / name).mkdir(parents=True)
        for name in ("usr", "etc", "var", "tmp", "run", "proc", "dev", "root", "home"):
            (self._root / name).mkdir()
        (self._root / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self._root / name).symlink_to(f"usr/{name}")
        for name in ("usr", "etc", "var"):
            upper, work = self._folder / name / "upper", self._folder / name / "work"
            upper.mkdir()
            work.mkdir()
            layers = f"lowerdir=/{name},upperdir={upper},workdir={work}"
            self._mount("--types", "overlay", "overlay", "--options", layers, str(self._root / name))
        self._mount("--types", "tmpfs", "tmpfs", str(self._root / "dev"))
        for name, minor in DEVICES.items():
            node = ["mknod", "--mode=666", str(self._root / "dev" / name), "c", "1", str(minor)]
            subprocess.run([*self._enter(), *node], check=True)
        self._path("/dev/shm").mkdir(mode=0o1777)
        self._path("/dev/shm").chmod(0o1777)
        if not Path(sys.base_prefix).is_relative_to("/usr"):
            self._show(sys.base_prefix, "/usr/local")
        for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
            for folder in os.environ.get(name, "").split():
                if Path(folder).is_dir():
                    self._path(folder).mkdir(parents=True, exist_ok=True)
                    self._show(folder, folder)
        for line in self._read("etc/passwd"):
            name, _, number, *_ = line.split(":")
            if 1000 <= int(number) < 60000:  # a person's; the system's belong to its packages
                self.run(["userdel", name], {})
        self.run(["ldconfig"], {})

    def _show(self, folder: str, at: str) -> None:
        """Show a folder of this machine in there, not to be written to."""
        self._mount("--bind", "--options", "ro", folder, str(self._root) + at)

    def _mount(self, *arguments: str) -> None:
        subprocess.run([*self._enter(), "mount", *arguments], check=True, capture_output=True, text=True)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--target={self._holder.pid}", "--mount"]

    def _path(self, path: str) -> Path:
        """Where this process, outside, finds a path of the inside."""
        return Path(f"/proc/{self._holder.pid}/root{self._root}{path}")

    def _read(self, path: str) -> list[str]:
        return self._path(f"/{path}").read_text(encoding="utf-8").splitlines()


def _package_index() -> dict[str, str]:
    """Variables that say where packages come from; uv reads its own name for pip's extra folder."""
    given = {name: value for name, value in os.environ.items() if name.startswith(NETWORK)}
    if "PIP_FIND_LINKS" in given:
        given.setdefault("UV_FIND_LINKS", given["PIP_FIND_LINKS"].replace(" ", ","))
    return given


def refusal() -> str | None:
    """Why there can be no bare root on this machine, if so."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    if not shutil.which("apt-get"):
        return "needs Debian, as the image's base"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"mounts are refused: {tried.stderr.strip()}" if tried.returncode else None
