"""A team's back end: Prefect and MLflow on a real PostgreSQL, artifacts in S3, passwords, secrets that stay secret."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import boto3
import httpx
import psycopg2
import pytest

from benchmarks.machine import free_port
from flows.server.backend import DATABASES, Postgres, program
from flows.server.servers import Servers
from tests.pipeline.conftest import Clone, make_clone

from .house import House, house, kill_all, wait_until
from .mlflow_server import mlflow_server

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.in_order]

# Each stands somewhere in the environment of the pipeline's processes, and must stand nowhere else.
# Drawn anew, as this file is part of the clone that is searched.
SECRETS = {
    name: f"planted-{secrets.token_hex(12)}"
    for name in ("AWS_SECRET_ACCESS_KEY", "PREFECT_API_KEY", "DATA_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
}
MLFLOW_PASSWORD = f"planted-{secrets.token_hex(12)}"
EXCLUDED = {"postgres.password"}


@dataclass
class Team:
    """A house on PostgreSQL and S3, whose MLflow wants a password."""

    house: House
    postgres: Postgres
    s3: str
    mlflow: str  # without user and password

    def environment(self, password: str | None = MLFLOW_PASSWORD) -> dict[str, str]:
        """What a user of MLflow sets."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AWS_"))}
        named = {} if password is None else {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
        return {**variables, "MLFLOW_TRACKING_URI": self.mlflow, "OMP_NUM_THREADS": "1", **named}

    def stage(self, *arguments: str, password: str | None = MLFLOW_PASSWORD, code: int = 0) -> str:
        """Run `python -m stages.…` in the house's clone; returns what it printed."""
        done = self.start(*arguments, password=password)
        printed = done.communicate(timeout=300)[0]
        assert done.returncode == code, printed
        return printed

    def start(self, *arguments: str, password: str | None = MLFLOW_PASSWORD) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self.house.clone.folder,
            env=self.environment(password),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def rows(self, server: str, query: str) -> list[tuple]:
        connection = psycopg2.connect(self.postgres.url(DATABASES[server]))
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()


@contextmanager
def started_postgres(folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL of our own, with its databases."""
    # Below /tmp, since the server's user may not enter the folders of pytest.
    with (
        tempfile.TemporaryDirectory(prefix="unroll-postgres-") as data,
        patch.dict(os.environ, {"UNROLL_POSTGRES_FOLDER": str(Path(data) / "data")}),
    ):
        Path(data).chmod(0o755)
        postgres = Postgres(folder, free_port())
        postgres.initialise()
        with (folder / "postgres.log").open("wb") as log:
            server = subprocess.Popen(postgres.command(), stdout=log, stderr=log)
        try:
            wait_until(postgres.answers, "PostgreSQL")
            postgres.make_databases()
            yield postgres
        finally:
            server.send_signal(signal.SIGINT)  # what is still connected is parted
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                kill_all(server.pid)
                server.wait()


@contextmanager
def started_mlflow(folder: Path, postgres: Postgres, bucket: str) -> Iterator[str]:
    """MLflow's server with passwords; the address without one."""
    environment = {
        **postgres.environment("mlflow"),
        "MLFLOW_ARTIFACTS_DESTINATION": bucket,
        "MLFLOW_AUTH_ADMIN_PASSWORD": MLFLOW_PASSWORD,
    }
    with mlflow_server(folder, "--app-name", "basic-auth", environment=environment) as address:
        yield address


@contextmanager
def data_host() -> Iterator[str]:
    """A web server with the forecast task's own sample; the address of the file, with a place for a password."""
    spec = find_spec("vega_datasets")
    assert spec is not None
    assert spec.submodule_search_locations
    handler = partial(SimpleHTTPRequestHandler, directory=str(Path(spec.submodule_search_locations[0]) / "_data"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://me:${{DATA_PASSWORD}}@127.0.0.1:{server.server_port}/seattle-weather.csv"
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, s3: str) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    assert httpx.put(f"{s3}/models").is_success
    storage = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3,
        "MLFLOW_S3_ENDPOINT_URL": s3,
    }
    with (
        patch.dict(os.environ, SECRETS | storage),
        started_postgres(folder) as postgres,
        started_mlflow(folder, postgres, "s3://models/artifacts") as mlflow,
        data_host() as url,
        patch.dict(
            os.environ,
            {
                "UNROLL_POSTGRES_URL": postgres.url(""),
                "MLFLOW_TRACKING_URI": mlflow.replace("://", f"://admin:{MLFLOW_PASSWORD}@"),
            },
        ),
    ):

        def change(clone: Clone) -> None:
            text = (clone.folder / "params.yaml").read_text(encoding="utf-8")
            before, forecast, after = text.partition("\nforecast:\n")
            after = after.replace("kind: sample", "kind: csv", 1).replace('url: ""', f'url: "{url}"', 1)
            (clone.folder / "params.yaml").write_text(before + forecast + after, encoding="utf-8")

        with house(folder / "house", change, postgres_port=postgres.port) as built:
            yield Team(built, postgres, s3, mlflow)


def test_a_flow_trains_and_registers_and_a_user_pulls_the_model_with_a_password_and_no_key_of_the_storage(
    team: Team, tmp_path: Path
) -> None:
    run = team.house.start("pipeline/pipeline", options={"tasks": ["forecast"], "up_to": "register"})
    assert run.wait(seconds=500) == "COMPLETED", run.message()
    assert team.rows("prefect", f"select state_type from flow_run where id = '{run.id}'") == [("COMPLETED",)]
    assert team.rows("mlflow", "select name, version from model_versions") == [("forecaster", 1)]
    storage = boto3.client("s3")
    names = [entry["Key"] for entry in storage.list_objects_v2(Bucket="models")["Contents"]]
    assert any(name.endswith("weights.safetensors") for name in names)

    days = tmp_path / "days.csv"
    days.write_text("ds,y\n" + "".join(f"2024-01-{day:02d},{day % 7}\n" for day in range(1, 31)))
    asked = ("stages.predict", "forecast", str(days), "--model", "models:/forecaster/1")
    assert team.stage(*asked).count("days,2024-0") == 7
    refused = team.stage(*asked, password="wrong", code=1)
    said = "unknown user or wrong password (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)"
    assert refused == f"unroll: predict forecast: models:/forecaster/1: MLflow at {team.mlflow}: {said}\n"


@pytest.mark.parametrize("command", [("stages.registry", "sync"), ("stages.register", "forecast")])
@pytest.mark.parametrize("password", ["wrong", None])
def test_a_wrong_password_is_one_clear_line(team: Team, command: tuple[str, ...], password: str | None) -> None:
    printed = team.stage(*command, password=password, code=1)
    said = [line for line in printed.splitlines() if "no receipt yet" not in line]  # `sync` asks for every task's first
    assert len(said) == 1
    assert f"MLflow at {team.mlflow}: unknown user or wrong password" in said[0]


def test_two_registrations_at_once_leave_one_champion(team: Team) -> None:
    """The same network, measured in two ways, three times in the same moment: one content, and so one version."""
    clone = team.house.clone.folder
    other = clone.with_name("other")
    shutil.copytree(clone, other, symlinks=True, ignore=shutil.ignore_patterns(".prefect", "cache"))
    metrics = other / "metrics" / "forecast.json"
    text = metrics.read_text(encoding="utf-8")
    metrics.unlink()  # it may be a link into DVC's cache
    metrics.write_text(text.replace("\n}", "\n}\n"), encoding="utf-8")
    before = team.rows("mlflow", "select count(*) from model_versions")[0][0]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "stages.register", "forecast"],
            cwd=folder,
            env=team.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for folder in (clone, other, other)
    ]
    for process in processes:
        printed = process.communicate(timeout=400)[0]
        assert process.returncode == 0, printed
    aliases = team.rows("mlflow", "select alias, version from registered_model_aliases where name = 'forecaster'")
    assert [alias for alias, _ in aliases].count("champion") <= 1
    assert [alias for alias, _ in aliases].count("challenger") == 1
    versions = team.rows("mlflow", "select version from model_versions where name = 'forecaster'")
    assert len(versions) == max(before, 1)
    judged = team.rows("mlflow", "select version from model_version_tags where key = 'unroll.decision'")
    assert sorted(judged) == sorted(versions)


def test_a_planted_secret_stands_nowhere(team: Team) -> None:
    planted = {**SECRETS, "MLflow": MLFLOW_PASSWORD, "PostgreSQL": team.postgres.password()}
    places: dict[str, bytes] = {}
    for path in team.house.clone.folder.parent.rglob("*"):
        if path.is_file() and path.name not in EXCLUDED:
            places[str(path)] = path.read_bytes()
    for server, database in DATABASES.items():
        dumped = [program("pg_dump"), "--dbname", team.postgres.url(database)]
        places[f"database of {server}"] = subprocess.run(dumped, capture_output=True, check=True).stdout
    storage = boto3.client("s3")
    for entry in storage.list_objects_v2(Bucket="models")["Contents"]:
        places[f"s3 {entry['Key']}"] = storage.get_object(Bucket="models", Key=entry["Key"])["Body"].read()
    history = ["git", "-C", str(team.house.clone.folder), "log", "--all", "--patch"]
    places["git"] = subprocess.run(history, capture_output=True, check=True).stdout
    assert len(places) > 100
    assert sum(len(content) for name, content in places.items() if name.startswith("database")) > 100_000
    found = [
        (name, place)
        for name, secret in planted.items()
        for place, content in places.items()
        if secret.encode() in content
    ]
    assert not found


def test_make_up_starts_a_postgresql_of_its_own_and_down_stops_it(tmp_path: Path) -> None:
    clone = make_clone(tmp_path)
    with tempfile.TemporaryDirectory(prefix="unroll-postgres-") as data:
        Path(data).chmod(0o755)
        with patch.dict(os.environ, {"UNROLL_POSTGRES_FOLDER": str(Path(data) / "data")}):
            for elsewhere in ("UNROLL_POSTGRES_URL", "MLFLOW_TRACKING_URI"):  # of the other tests' servers
                os.environ.pop(elsewhere, None)
            ports = {f"{name}_port": free_port() for name in ("prefect", "mlflow", "postgres")}
            servers = Servers(clone.folder, **ports)
            try:
                servers.up()
                assert {"postgres", "prefect", "mlflow"} <= servers.running().keys()
                postgres = Postgres(servers.folder, ports["postgres_port"])
                for database in DATABASES.values():
                    connection = psycopg2.connect(postgres.url(database))
                    with connection.cursor() as cursor:
                        cursor.execute("select count(*) from information_schema.tables where table_schema = 'public'")
                        assert cursor.fetchall()[0][0] > 20
                    connection.close()
                # Whoever lists processes sees no password.
                shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
                assert (servers.folder / "postgres.password").read_text() not in shown
                assert (servers.folder / "postgres.password").stat().st_mode & 0o077 == 0
            finally:
                servers.down()
            assert not servers.running()
            assert not postgres.answers()
