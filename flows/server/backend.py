"""PostgreSQL under Prefect's and MLflow's servers, in place of sqlite files: `make up BACKEND=postgres`.

UNROLL_POSTGRES_URL names a running server, such as postgresql://me:password@host:5432; otherwise one is started from
the programs of this machine, on 127.0.0.1 with a password of its own. Passwords are passed only in the environment
of the servers: they are in no command line, log or file except `.prefect/postgres.password`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from stages.tracking.store import without_credentials

_HOST = "127.0.0.1"
_USER = "unroll"  # in the database
_SYSTEM_USER = "postgres"  # whom the server runs as where we are root, which it refuses to be
DATABASES = {"prefect": "unroll_prefect", "mlflow": "unroll_mlflow"}


class BackendError(RuntimeError):
    """PostgreSQL cannot be started or used; the message says why."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server, ours or another one, with a database for each of our servers."""

    folder: Path  # of the checkout's servers
    port: int  # of our own; another one has its port in its URL

    @property
    def own(self) -> bool:
        """Whether it is ours to start."""
        return "UNROLL_POSTGRES_URL" not in os.environ

    @property
    def data(self) -> Path:
        """Where our own keeps its files: UNROLL_POSTGRES_FOLDER, or else beside the servers' other state."""
        named = os.environ.get("UNROLL_POSTGRES_FOLDER")
        return Path(named).absolute() if named else self.folder / "postgres"

    def command(self) -> list[str]:
        """What starts our own, in the foreground."""
        settings = {"listen_addresses": _HOST, "port": self.port, "unix_socket_directories": ""}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*_as_user(), program("postgres"), "-D", str(self.data), *options]

    def initialise(self) -> None:
        """Make the files of our own where there are none yet. Raises BackendError where that fails."""
        if (self.data / "PG_VERSION").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        # A copy for initdb, which may run as another user.
        password = self.data.with_name(f".{self.data.name}.first-password")
        password.touch(mode=0o600)
        password.write_text(self.password(), encoding="utf-8")
        try:
            if os.geteuid() == 0:
                if "UNROLL_POSTGRES_FOLDER" not in os.environ:
                    self.data.parent.chmod(0o711)  # ours alone to list, and the other user's to pass through
                for path in (self.data, password):
                    shutil.chown(path, _SYSTEM_USER, _SYSTEM_USER)
            user, locale = ("-U", _USER), ("--encoding", "UTF8", "--locale", "C.UTF-8")
            login = ("--auth", "scram-sha-256", "--pwfile", str(password))
            command = [*_as_user(), program("initdb"), "-D", str(self.data), *user, *locale, *login]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        finally:
            password.unlink()
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            raise BackendError(
                f"PostgreSQL in {self.data}: {reason}; its user must have access to that folder; "
                f"set UNROLL_POSTGRES_FOLDER to another one"
            )

    def url(self, database: str) -> str:
        """The address of a database, with the password."""
        if self.own:
            return f"postgresql://{_USER}:{self.password()}@{_HOST}:{self.port}/{database}"
        given = os.environ["UNROLL_POSTGRES_URL"]
        parts = urlsplit(given)
        if parts.scheme not in ("postgresql", "postgres") or not parts.hostname:
            raise BackendError(
                f"UNROLL_POSTGRES_URL: found {without_credentials(given)!r}; allowed: postgresql://user:password@host:5432"
            )
        return urlunsplit(("postgresql", parts.netloc, f"/{database}", parts.query, ""))

    def environment(self, server: str) -> Mapping[str, str]:
        """What Prefect's or MLflow's server reads to use its database."""
        url = self.url(DATABASES[server])
        if server == "mlflow":
            # SQLAlchemy's own choice of a driver differs by version.
            return {"MLFLOW_BACKEND_STORE_URI": url.replace("postgresql://", "postgresql+psycopg2://", 1)}
        # asyncpg has another name for the same setting.
        asynchronous = url.replace("postgresql://", "postgresql+asyncpg://", 1).replace("sslmode=", "ssl=")
        return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": asynchronous}

    def answers(self) -> bool:
        """Whether our own accepts connections yet."""
        import psycopg2

        try:
            psycopg2.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True

    def make_databases(self) -> None:
        """Make the two databases where they are missing. Raises BackendError where the server refuses."""
        import psycopg2
        from psycopg2 import sql

        given = "" if self.own else urlsplit(os.environ["UNROLL_POSTGRES_URL"]).path.strip("/")
        try:
            with closing(psycopg2.connect(self.url(given or "postgres"), connect_timeout=15)) as connection:
                connection.autocommit = True  # a database is not made within a transaction
                with connection.cursor() as cursor:
                    cursor.execute("SELECT datname FROM pg_database")
                    present = {name for (name,) in cursor.fetchall()}
                    for name in sorted(set(DATABASES.values()) - present):
                        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg2.Error as error:
            where = without_credentials(self.url(""))
            raise BackendError(f"PostgreSQL at {where}: {' '.join(str(error).split())}") from None

    def password(self) -> str:
        """The password of our own, made at first."""
        path = self.folder / "postgres.password"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        return path.read_text(encoding="utf-8")


def program(name: str) -> str:
    """A program of PostgreSQL: on the PATH, or where Debian puts the newest."""
    found = shutil.which(name)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found and not installed:
        raise BackendError(
            f"{name} not found: install PostgreSQL (Debian: apt-get install postgresql), or set "
            f"UNROLL_POSTGRES_URL to a server"
        )
    return found or str(installed[-1])


def _as_user() -> list[str]:
    """Before a command: nothing, or, where we are root, what runs it as a user that PostgreSQL accepts."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        raise BackendError(f"PostgreSQL refuses to run as root, and the user {_SYSTEM_USER!r} does not exist") from None
    return ["setpriv", f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--init-groups"]
