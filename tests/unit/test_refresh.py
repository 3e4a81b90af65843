"""Refresh against a host of its own: what is asked and fetched, when the pin moves, what download then takes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stages.fetch import DownloadError, question
from stages.params import load
from stages.refresh import Refreshed, refresh_task
from stages.sources import fetched, pins
from stages.sources.compare import Compared, compare
from stages.sources.pinned import host_of
from stages.sources.records import Records
from stages.tasks.forecast.data.numbers import MISSING
from stages.tasks.forecast.source import download as forecast
from stages.tasks.protocol import Task
from stages.tasks.video.source import download as video
from tests.unit.http_server import Fault, Host

REPOSITORY = Path(__file__).resolve().parents[2]
HEADER = "date,temp_max\n"
PARAMS = load(REPOSITORY / "params.yaml")


def rows(first: int, last: int, value: int = 1) -> str:
    return "".join(f"2020/{1 + day // 28:02d}/{1 + day % 28:02d},{value + day % 7}\n" for day in range(first, last))


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with the pins of samples; no host is asked twice."""
    folder = tmp_path / "checkout"
    for task in Task.names():
        if Task(task).description().dataset_task == task:
            pins.write(folder / pins.path_of(task), pins.NOTHING)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(question, "_ATTEMPTS", 1)
    return folder


def params_of(task: str, url: str, *, rewritten_past: str = "refuse", **source: object) -> Any:
    params = PARAMS[task]
    kinds = {"forecast": "csv", "sketch": "quickdraw", "video": "folder", "translation": "tsv"}
    block = params.source.model_copy(update={"kind": kinds[task], "url": url, **source})
    return params.model_copy(
        update={
            "source": block,
            "monitor": params.monitor.model_copy(update={"rewritten_past": rewritten_past}),
        }
    )


def refresh(params: Any, task: str = "forecast", **options: bool) -> Refreshed:
    return refresh_task(Task(task), params, **options)


def pin(task: str = "forecast") -> str:
    return pins.path_of(task).read_text()


def downloaded(params: Any, folder: Path, name: str = "series.csv") -> bytes:
    forecast.download(params.source, folder, host_of("forecast", params.source))
    return (folder / name).read_bytes()


def test_a_sample_needs_no_network_and_its_pin_never_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for task, own in PARAMS.items():
        params: Any = own.model_copy(update={"source": own.source.model_copy(update={"kind": "sample"})})
        assert refresh(params, task).state == "unchanged"
        assert refresh(params, task, check=True).state == "unchanged"
        assert pin(Task(task).description().dataset_task) == pins.NOTHING.text()


def test_where_nothing_is_asked_nothing_is_imported_that_asks() -> None:
    code = "import sys, stages.refresh; print({*sys.modules} & {'httpx', 'fsspec', 'pandas', 'torch', 'dvc', 'mlflow'})"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_the_pins_that_are_committed_can_be_read() -> None:
    for path in (REPOSITORY / "sources").glob("*.json"):
        assert pins.read(path).text() == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("etag", ['"1"', None])
def test_days_more_at_the_same_address_move_the_pin_and_nothing_new_leaves_its_bytes(
    host: Host, tmp_path: Path, etag: str | None
) -> None:
    file = host.put("/s.csv", (HEADER + rows(0, 28)).encode(), etag=etag)
    params = params_of("forecast", f"{host.url}/s.csv")
    assert refresh(params).summary == "pinned for the first time: 1 file"
    first, sent = pin(), host.sent
    assert refresh(params).state == "unchanged"
    assert pin() == first
    assert (host.sent == sent) == bool(etag)  # a host that says nothing must be fetched to know
    file.content, file.etag = file.content + rows(28, 120).encode(), etag and '"2"'
    told = refresh(params, check=True)
    assert (told.state, told.files, told.files_changed, told.lines_added) == ("new", 1, 1, 92)
    assert told.summary == "1 of 1 files changed, 92 lines more"
    assert pin() == first
    assert refresh(params) == told
    assert pin() != first
    assert str(tmp_path) not in pin()
    assert downloaded(params, tmp_path / "raw") == file.content


def test_another_version_of_the_same_bytes_is_nothing_new(host: Host) -> None:
    file = host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    before, file.etag = pin(), '"second"'
    assert refresh(params).state == "unchanged"
    sent = host.sent
    assert refresh(params).state == "unchanged"
    assert (pin(), host.sent) == (before, sent)  # and is known to be, the second time


def test_one_file_more_in_a_source_of_many_moves_one_file(host: Host, tmp_path: Path) -> None:
    one_file_more(host, tmp_path, count=50)


def one_file_more(host: Host, tmp_path: Path, *, count: int) -> None:
    """A folder of clips gets another one, then loses one; download then asks no host."""

    def index(*links: str) -> bytes:
        return "".join(f'<a href="{link}">{link}</a>' for link in links).encode()

    clips = {f"{number:04d}.avi": b"clip %d" % number for number in range(count)}
    for name, content in clips.items():
        host.put(f"/set/run/{name}", content)
    host.put("/set/", index("run/", "sit/"))
    host.put("/set/sit/", index("a.avi"))
    host.put("/set/sit/a.avi", b"a")
    host.put("/set/run/", index(*clips))
    params = params_of("video", f"{host.url}/set")
    assert refresh(params, "video").files == count + 1
    host.requests.clear()
    clips["9999.avi"] = b"the new one"
    host.put("/set/run/9999.avi", clips["9999.avi"])
    host.put("/set/run/", index(*clips))
    result = refresh(params, "video")
    assert (result.summary, result.files_changed) == ("1 file more", 1)
    moved = [request.path for request in host.requests if request.method == "GET" and not request.path.endswith("/")]
    assert moved == ["/set/run/9999.avi"]
    host.requests.clear()
    video.download(params.source, tmp_path / "raw", host_of("video", params.source))
    assert host.requests == []
    assert len(list((tmp_path / "raw/clips/run").iterdir())) == count + 1
    del host.files["/set/run/0007.avi"]
    host.put("/set/run/", index(*(name for name in clips if name != "0007.avi")))
    assert "clips/run/0007.avi is gone" in refresh(params, "video").summary


@pytest.mark.parametrize("rewritten", [False, True])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_has_grown_is_continued_where_its_beginning_is_proved_unchanged(
    host: Host, tmp_path: Path, rewritten: bool, ranges: bool
) -> None:
    def etag(content: bytes) -> str:
        return f'"{hashlib.md5(content).hexdigest()}"'

    old = (HEADER + rows(0, 280)).encode()
    new = ((HEADER + rows(0, 300)).replace("2020/02/03,", "2020/02/03,1" if rewritten else "2020/02/03,")).encode()
    file = host.put("/s.csv", old, etag=etag(old), ranges=ranges)
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    sent, file.content, file.etag = host.sent, new, etag(new)
    result = refresh(params)
    moved = host.sent - sent
    assert result.state == ("refused" if rewritten else "new")
    assert ("2020/02/03: temp_max" in result.summary) == rewritten
    if not rewritten:
        assert downloaded(params, tmp_path / "raw") == new
    if ranges:
        assert moved == len(new) - len(old) + (len(new) if rewritten else 0)
    else:
        assert moved == len(new) * (2 if rewritten else 1) or moved == len(new)


REWRITTEN: dict[str, tuple[Callable[[str], str], str]] = {
    "changed": (lambda text: text.replace("2020/01/03,3", "2020/01/03,30"), "2020/01/03: temp_max 3 → 30"),
    "lost rows": (lambda text: text.replace("2020/01/03,3\n", ""), "1 row lost, the first 2020/01/03"),
    "lost history": (lambda text: HEADER + rows(20, 40), "20 rows lost, the first 2020/01/01"),
    "lost column": (lambda text: text.replace("temp_max", "temperature"), "lost the column temp_max"),
    "empty": (lambda text: "", "lost the column date"),
    "no text": (lambda text: "PAR1" + text, "cannot be compared by rows"),
    "a value goes on": (lambda text: text + "0\n", "2020/01/28: temp_max 7 → 70"),
}


@pytest.mark.parametrize("case", REWRITTEN)
def test_a_past_that_was_rewritten_is_refused_and_all_stays(host: Host, tmp_path: Path, case: str) -> None:
    change, said = REWRITTEN[case]
    text = HEADER + rows(0, 28).removesuffix("\n")
    file = host.put("/s.csv", text.encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    before = pin()
    file.content, file.etag = change(text if case == "a value goes on" else f"{text}\n").encode(), '"2"'
    for check in (True, False):
        result = refresh(params, check=check)
        assert result.state == "refused"
        assert said in result.summary
        assert "\n" not in result.summary
    assert pin() == before
    assert downloaded(params, tmp_path / "raw") == text.encode()
    assert "`python -m stages.refresh forecast --accept` takes it" in result.summary
    accepting = params_of("forecast", f"{host.url}/s.csv", rewritten_past="accept")
    for accepted in (refresh(accepting, check=True), refresh(params, accept=True)):
        assert accepted.state == "new"
        assert said in accepted.summary
    assert pin() != before
    assert downloaded(params, tmp_path / "raw2") == file.content


def test_in_an_archive_of_series_each_file_is_compared(host: Host) -> None:
    def packed(**files: str) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"{name}.csv", HEADER + text)
        return content.getvalue()

    file = host.put("/s.zip", packed(a=rows(0, 28), b=rows(0, 28)))
    params = params_of("forecast", f"{host.url}/s.zip")
    refresh(params)
    for number, (content, state, said) in enumerate(
        (
            (packed(a=rows(0, 60), b=rows(0, 28), c=rows(0, 9)), "new", "1 of 1 files changed"),
            (packed(a=rows(0, 60), b=rows(0, 28, value=2), c=rows(0, 9)), "refused", "b.csv: 28 rows changed"),
            (packed(a=rows(0, 60), c=rows(0, 9)), "refused", "series.csv: b.csv is gone"),
        )
    ):
        file.content, file.etag = content, f'"{number}"'
        result = refresh(params)
        assert result.state == state
        assert said in result.summary


def test_days_that_came_again_and_days_ahead_are_told(host: Host) -> None:
    text = HEADER + rows(0, 28)
    file = host.put("/s.csv", text.encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    file.content, file.etag = f"{text}2020/01/02,90\n2020/01/03,3\n2999/01/01,5\n".encode(), '"2"'
    assert refresh(params).summary == (
        "1 of 1 files changed, 3 lines more; series.csv: 2 rows repeated, the first 2020/01/02; 1 of them with other "
        "values, the first 2020/01/02; 1 row is in the future, the first 2999/01/01"
    )


def test_equal_rows_that_came_again_are_told(tmp_path: Path) -> None:
    assert compared(tmp_path, rows(0, 28), rows(0, 28) * 2).notes() == ["28 rows repeated, the first 2020/01/01"]


def test_days_are_known_as_preparation_reads_them_however_they_are_written(tmp_path: Path) -> None:
    found = compared(tmp_path, "2020/01/02,3\nno day,1\n", "2020/1/2,3\n2020/1/02,4\nno day,1\n")
    assert found.faults() == []
    again = "1 row repeated, the first 2020/1/02"
    assert found.notes() == [again, "1 of them with other values, the first 2020/1/02"]
    found = compared(tmp_path, "2020/01/02,3\n2020/01/03,3\n", "2020/1/2,4\n")
    changed, lost = "1 row changed, the first 2020/1/2: temp_max 3 → 4", "1 row lost, the first 2020/01/03"
    assert found.faults() == [changed, lost]


def test_a_day_that_was_told_of_ahead_has_come_and_its_past_is_not_rewritten(tmp_path: Path) -> None:
    header = "date,price,temp_max\n"
    before = header + "2020/01/01,5,1\n2020/01/02,5,\n2020/01/03,5,NA\n2020/01/04,5,\n"
    after = header + "2020/01/01,5,1\n2020/01/02,6,2\n2020/01/03,7,\n2020/01/04,5,\n"
    found = compared(tmp_path, before, after, header="")
    assert found.faults() == []
    assert found.notes() == [
        "1 row without a value got one, the first 2020/01/02",
        "1 row without a value changed, the first 2020/01/03",
    ]
    assert compared(tmp_path, after, before, header="").faults() == [
        "1 row changed, the first 2020/01/02: price 6 → 5",
    ]


def test_the_task_says_what_stands_for_a_missing_value(tmp_path: Path) -> None:
    how = forecast.records(params_of("forecast", "x"), "series.csv")
    assert how is not None
    assert how.missing == MISSING
    before, after = "2020/01/01,Gap\n2020/01/02,NA\n", "2020/01/01,1\n2020/01/02,2\n"
    found = compared(tmp_path, before, after, missing=frozenset({"gap"}))
    assert found.notes() == ["1 row without a value got one, the first 2020/01/01"]
    assert found.faults() == ["1 row changed, the first 2020/01/02: temp_max NA → 2"]


def compared(
    folder: Path, before: str, after: str, *, header: str = HEADER, missing: frozenset[str] = MISSING
) -> Compared:
    for name, text in (("old", before), ("new", after)):
        (folder / name).write_text(header + text)
    how = Records(
        form="csv",
        key=("date",),
        dates=("date",),
        date_format="%Y/%m/%d",
        values=("temp_max",),
        missing=missing,
    )
    return compare(folder / "old", folder / "new", how, date(2020, 6, 1))


@pytest.mark.parametrize("fault", ["refused", "silent", "503"])
def test_a_host_that_is_away_leaves_the_pin(host: Host, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    file = host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    before = pin()
    if fault == "silent":
        file.delay = 30
        monkeypatch.setattr("stages.refresh.ask_all", lambda wanted: question.ask_all(wanted, idle=0.2))
    elif fault == "503":
        file.faults = [Fault(status=503)] * 9
    else:
        monkeypatch.setattr(socket.socket, "connect", _refuse)
    result = refresh(params)
    assert result.state == "away"
    assert "s.csv" in result.summary
    assert result.summary.endswith("; the pin stays")
    assert pin() == before


def _refuse(*arguments: object) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_a_file_that_is_gone_is_refused_once_it_was_pinned(host: Host) -> None:
    params = params_of("forecast", f"{host.url}/s.csv")
    with pytest.raises(DownloadError, match="HTTP 404"):
        refresh(params)
    host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    refresh(params)
    host.files.clear()
    result = refresh(params)
    assert result.state == "refused"
    assert result.summary.endswith("/s.csv: the host has no such file, found HTTP 404 Not Found; the pin stays")


def test_a_host_that_answers_no_head_is_asked_by_a_get(host: Host) -> None:
    host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    host.answers_head = False
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    sent = host.sent
    assert refresh(params).state == "unchanged"
    assert host.sent == sent + 1  # byte


def test_download_finds_a_pinned_version_in_dvcs_cache_and_in_what_a_file_has_grown_from(
    host: Host, tmp_path: Path, checkout: Path
) -> None:
    content = (HEADER + rows(0, 28)).encode()
    file = host.put("/s.csv", content)
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    md5 = pins.read(pins.path_of("forecast")).files["series.csv"].content.md5
    shutil.rmtree(".fetched")
    cached = checkout / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    host.requests.clear()
    assert downloaded(params, tmp_path / "a") == content
    assert host.requests == []
    cached.write_bytes(b"damaged")
    file.content, file.etag = content + rows(28, 60).encode(), '"2"'
    assert downloaded(params, tmp_path / "b") == content
    record = [(tmp_path / folder / "downloads.json").read_bytes() for folder in "ab"]
    assert record[0] == record[1]


def test_another_version_than_the_pinned_one_says_what_to_do(host: Host, tmp_path: Path) -> None:
    file = host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    shutil.rmtree(".fetched")
    file.content, file.etag = (HEADER + rows(0, 28, value=2)).encode(), '"2"'
    said = "no longer matches sources/forecast.json; `python -m stages.refresh forecast` pins what is there now, and"
    with pytest.raises(DownloadError, match=said):
        downloaded(params, tmp_path / "raw")


def test_a_pin_of_another_source_is_passed_over_and_the_way_to_pin_is_told(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    host.put("/t.csv", (HEADER + rows(0, 9)).encode())
    refresh(params_of("forecast", f"{host.url}/s.csv"))
    other = params_of("forecast", f"{host.url}/t.csv")
    assert downloaded(other, tmp_path / "raw") == host.files["/t.csv"].content
    assert "`python -m stages.refresh forecast` pins them" in capsys.readouterr().err
    assert refresh(other).summary == "pinned for the first time: 1 file"
    assert downloaded(other, tmp_path / "raw2") == host.files["/t.csv"].content
    assert capsys.readouterr().err == ""


def test_pinned_and_unpinned_downloads_write_the_same_bytes(host: Host, tmp_path: Path) -> None:
    host.put("/full/simplified/eye.ndjson", b'{"key_id": "1"}\n{"key_id": "2"}\n{"key_id": "3"}\n')
    host.put("/sketchrnn/face.npz", b"\0npz")
    categories = {"eye": "simplified", "face": "sketchrnn"}
    params = params_of("sketch", host.url, categories=categories, per_category=2)
    source = Task("sketch").source()
    source.download(params.source, tmp_path / "a", host_of("sketch", params.source))
    refresh(params, "sketch")
    source.download(params.source, tmp_path / "b", host_of("sketch", params.source))
    files = [
        {path.relative_to(tmp_path / f): path.read_bytes() for path in (tmp_path / f).rglob("*.*")} for f in ("a", "b")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 3


@pytest.mark.parametrize("address", ["/s.csv?token=${TOKEN}", "/${TOKEN}/s.csv"])
def test_a_secret_of_the_environment_stands_in_no_pin_and_no_record(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    path = address.partition("?")[0].replace("${TOKEN}", "hunter2")
    host.put(path, (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", host.url + address)
    downloaded(params, tmp_path / "unpinned")
    refresh(params)
    assert f'"url": "{host.url}{address.partition("?")[0]}"' in pin()
    downloaded(params, tmp_path / "pinned")
    records = [(tmp_path / folder / "downloads.json").read_text() for folder in ("pinned", "unpinned")]
    assert records[0] == records[1]
    shutil.rmtree(".fetched")
    host.files[path].faults = [Fault(status=503)]
    downloaded(params, tmp_path / "again")
    host.files.clear()
    told = refresh(params).summary + caplog.text + records[0]
    shutil.rmtree(".fetched")
    with pytest.raises(DownloadError, match="HTTP 404") as error:
        downloaded(params, tmp_path / "raw")
    assert "hunter2" not in told + str(error.value)
    host.put(path, (HEADER + rows(0, 28)).encode())
    refresh(params)
    kept = [path for path in Path(".fetched").rglob("*") if path.is_file()]
    assert "hunter2" not in pin() + "".join(path.read_text() for path in kept)


def test_the_cache_is_bounded_and_keeps_what_the_pin_names(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetched, "MAX_BYTES", 0)
    file = host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    file.content, file.etag = file.content + rows(28, 60).encode(), '"2"'
    refresh(params)
    assert [path.read_bytes() for path in Path(".fetched/content").rglob("*") if path.is_file()] == [file.content]


def test_worktrees_share_what_was_fetched(tmp_path: Path) -> None:
    main = tmp_path / "main"
    main.mkdir()
    git = ["git", "-C", str(main), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "a"],
        ["worktree", "add", "-q", "../tree"],
    ):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    assert fetched.Fetched(tmp_path / "tree").folder == fetched.Fetched(main).folder == main / ".fetched"


def test_a_damaged_pin_is_named() -> None:
    pins.path_of("forecast").write_text("{}")
    with pytest.raises(ValueError, match=r"sources/forecast.json: not a pin that `python -m stages.refresh` wrote"):
        pins.read(pins.path_of("forecast"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "{victim}"}, "files: series.csv: sha256: found .*victim.*; allowed: 64 hexadecimal digits"),
        ({"sha256": "../../victim"}, "sha256: found .*; allowed: 64 hexadecimal digits"),
        ({"sha256": [1]}, r"sha256: found \[1\]; allowed"),
        ({"md5": "../victim"}, "md5: found .*; allowed: 32 hexadecimal digits"),
        ({"lines": "x"}, 'lines: found "x"; allowed: a number of 0 or more'),
        ({"lines": -5}, "lines: found -5; allowed"),
        ({"bytes": None}, "bytes: found null; allowed"),
        ({"bytes": True}, "bytes: found true; allowed"),
        ({"url": None}, "url: found null; allowed: text"),
        ({"nonsense": 1}, "series.csv: found the key 'nonsense'; allowed"),
    ],
)
def test_a_pin_is_not_believed_and_deletes_nothing(
    host: Host, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    edit_pin(lambda value: value["files"]["series.csv"].update(change))
    text = pin().replace("{victim}", str(victim))
    pins.path_of("forecast").write_text(text)
    for act in (lambda: refresh(params), lambda: downloaded(params, tmp_path / "raw")):
        with pytest.raises(ValueError, match=f"^sources/forecast.json: not a pin .*{said}") as error:
            act()
        assert "\n" not in str(error.value)
    assert victim.read_text() == "precious"


def edit_pin(change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(pin())
    change(value)
    pins.path_of("forecast").write_text(json.dumps(value))


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".", ""])
def test_a_pinned_name_leads_nowhere_else(name: str) -> None:
    entry = {"url": "u", "bytes": 1, "md5": "0" * 32, "sha256": "0" * 64}
    with pytest.raises(ValueError, match="files: found the name .*; allowed: a relative path without"):
        pins.parse(json.dumps({"source": None, "files": {name: entry}}))


@pytest.mark.parametrize("text", ['{"a":', "[]", '{"KEY": {"bytes": 1}}', '{"KEY": 3}'])
def test_what_is_damaged_in_the_memory_of_versions_is_not_there(host: Host, text: str) -> None:
    host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    (path,) = Path(".fetched/versions").iterdir()
    (key,) = json.loads(path.read_text())
    path.write_text(text.replace("KEY", key))
    assert refresh(params).state == "unchanged"


@pytest.mark.parametrize("damage", ["emptied", "flipped", "gone"])
@pytest.mark.parametrize("elsewhere", ["cache", "raw", "nowhere"])
def test_a_rewritten_past_does_not_pass_by_what_is_damaged_here(
    host: Host, checkout: Path, capsys: pytest.CaptureFixture[str], damage: str, elsewhere: str
) -> None:
    old = (HEADER + rows(0, 28)).encode()
    new = old.replace(b"2020/01/03,3", b"2020/01/03,9")
    file = host.put("/s.csv", old)
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    content = pins.read(pins.path_of("forecast")).files["series.csv"].content
    (path,) = (path for path in Path(".fetched/content").rglob("*") if path.is_file())
    path.unlink() if damage == "gone" else path.write_bytes(b"" if damage == "emptied" else new)
    copies = {"cache": checkout / f".dvc/cache/files/md5/{content.md5[:2]}/{content.md5[2:]}"}
    copies["raw"] = checkout / "data/forecast/raw/series.csv"
    if elsewhere in copies:
        copies[elsewhere].parent.mkdir(parents=True)
        copies[elsewhere].write_bytes(old)
    file.content, file.etag = new, '"2"'
    result = refresh(params)
    assert result.state == "refused"
    said = "no longer here to compare with" if elsewhere == "nowhere" else "2020/01/03: temp_max 3 → 9"
    assert said in result.summary
    assert ("no longer has the hash in its name; removed" in capsys.readouterr().err) == (damage != "gone")


def test_a_pin_whose_files_were_emptied_is_compared_with_the_raw_folder(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = host.put("/s.csv", (HEADER + rows(0, 28)).encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    whole = pin()
    edit_pin(lambda value: value.update(files={}))
    assert downloaded(params, Path("data/forecast/raw")) == file.content
    assert "sources/forecast.json names no file, so the files that the host has now" in capsys.readouterr().err
    file.content, file.etag = (HEADER + rows(0, 20)).encode(), '"2"'
    assert "8 rows lost, the first 2020/01/21" in refresh(params).summary
    assert refresh(params).state == "refused"
    file.content, file.etag = (HEADER + rows(0, 28)).encode(), '"first"'
    assert "sources/forecast.json named no file; compared with data/forecast/raw" in refresh(params).summary
    assert pin() == whole


@pytest.mark.parametrize("moved", ["size", "time"])
def test_the_same_etag_with_another_size_or_time_is_looked_at(host: Host, moved: str) -> None:
    text = HEADER + rows(0, 28)
    times = {"Last-Modified": "Tue, 01 Dec 2026 10:00:00 GMT"}
    file = host.put("/s.csv", text.encode(), headers=times)
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    if moved == "size":
        file.content = (text + rows(28, 29)).encode()
    else:
        file.content = text.replace("2020/01/03,3", "2020/01/03,9").encode()
        file.headers = {"Last-Modified": "Tue, 01 Dec 2026 11:00:00 GMT"}
    assert refresh(params).state == ("new" if moved == "size" else "refused")


def test_refresh_finds_out_of_a_change_that_the_host_did_not_tell(host: Host, tmp_path: Path) -> None:
    text = HEADER + rows(0, 28)
    file = host.put("/s.csv", text.encode())
    params = params_of("forecast", f"{host.url}/s.csv")
    refresh(params)
    file.content = text.replace("2020/01/03,3", "2020/01/03,9").encode()
    assert refresh(params).state == "unchanged"  # a host is believed
    shutil.rmtree(".fetched")
    with pytest.raises(DownloadError, match="`python -m stages.refresh forecast` pins what is there now"):
        downloaded(params, tmp_path / "raw")
    assert "no longer here to compare with" in refresh(params).summary
    accepting = params_of("forecast", f"{host.url}/s.csv", rewritten_past="accept")
    assert refresh(accepting).state == "new"
    assert downloaded(accepting, tmp_path / "raw") == file.content
