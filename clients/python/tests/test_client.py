"""The client against a real server: tasks, from their submission to their deletion."""

from __future__ import annotations

import inspect
import io
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import ekiben
from ekiben.client import (
    AlreadyStarted,
    BadRequest,
    EkibenError,
    EndpointNotFound,
    NotFinished,
    Retries,
    ServerUnavailable,
    TaskCanceled,
    TaskFailed,
    TaskNotFound,
    WaitTimedOut,
)
from ekiben_harness import SOURCE
from ekiben_server import NO_TASK, Server


def test_a_task_is_submitted_waited_for_and_its_output_fetched(client: Any) -> None:
    task = client.submit("detect_language", {"text": "Guten Tag, wie geht es Ihnen?"})
    assert (task.endpoint, task.replayed, len(task.id)) == ("detect_language", False, 32)
    ended = client.wait(task)
    assert (ended.id, ended.state, ended.finished) == (task.id, "completed", True)
    assert ended.started_at <= ended.finished_at and ended.submitted_at.tzinfo is not None
    assert client.output(task)["language"] == "deu"
    assert client.output(task.id) == client.output(ended)
    assert client.input(task) == {"text": "Guten Tag, wie geht es Ihnen?"}
    assert client.get(task) == ended


def test_a_call_gives_the_output(client: Any) -> None:
    assert client.call("detect_language", {"text": "Bonjour tout le monde, ça va ?"})["language"] == "fra"
    assert client.submit_and_wait("detect_language", {"text": "hello"}).state == "completed"


@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        ({"é": [1, 2.5, None, True]}, None),
        ("text", None),
        (None, None),
        ("télé", "text/plain; charset=utf-8"),
        (b"\xff\0", None),
        (bytearray(b"RIFF"), "audio/wav"),
        (b"", None),
    ],
)
def test_every_kind_of_input_comes_back_as_it_was(client: Any, value: Any, content_type: str | None) -> None:
    task = client.submit("echo", value, content_type=content_type)
    assert client.input(task) == value
    assert client.wait(task).state == "completed"
    assert client.output(task) == value


def test_files_are_streamed_both_ways(client: Any, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 5 + b"end"
    source = tmp_path / "recording.wav"
    source.write_bytes(data)
    with source.open("rb") as file:
        file.seek(3)
        part = client.submit("echo", file)
    whole = client.submit("echo", source)
    memory = client.submit("echo", io.BytesIO(data))

    for task, expected in ((whole, data), (part, data[3:]), (memory, data)):
        assert client.wait(task).input_bytes == len(expected)
        target = tmp_path / "back"
        assert client.output_to(task, target) == target
        assert target.read_bytes() == expected
        assert client.input_to(task, target).read_bytes() == expected
        assert set(os.listdir(tmp_path)) == {"back", source.name}


def test_what_cannot_be_read_ahead_is_streamed_without_a_length(client: Any) -> None:
    reading, writing = os.pipe()
    data = b"through a pipe" * 10_000

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(data)

    threading.Thread(target=write).start()
    with os.fdopen(reading, "rb") as file:
        task = client.submit("echo", file)
    client.wait(task)
    assert client.output(task) == data


def test_an_input_that_cannot_be_sent_says_so_before_anything_is(client: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.submit("echo", tmp_path / "missing")
    with pytest.raises(TypeError, match="opened in binary mode"):
        client.submit("echo", io.StringIO("text"))
    with pytest.raises(TypeError, match="not JSON serializable"):
        client.submit("echo", object())
    with pytest.raises(ValueError, match="not JSON compliant"):
        client.submit("echo", float("nan"))
    with pytest.raises(TypeError, match="cannot be sent as image/png"):
        client.submit("echo", {"a": 1}, content_type="image/png")
    with pytest.raises(TypeError, match="'prioritty' is no option"):
        client.submit("echo", 1, prioritty=3)
    with pytest.raises(ValueError, match="give one of them"):
        client.submit("echo", 1, delay=1, not_before=datetime.now(timezone.utc))
    with pytest.raises(ValueError, match="not_before: .* no time zone"):
        client.submit("echo", 1, not_before=datetime(2030, 1, 1))
    with pytest.raises(ValueError, match="timeout: -1"):
        client.submit("echo", 1, timeout=-1)


def test_a_failed_task_raises_why(client: Any, tmp_path: Path) -> None:
    task = client.submit("work", {"fail": "no such style"})
    ended = client.wait(task)
    assert (ended.state, ended.failure.code) == ("failed", "failed")
    with pytest.raises(TaskFailed, match="no such style") as raised:
        client.output(task)
    assert raised.value.failure.message == "RuntimeError: no such style"
    assert (raised.value.task.id, raised.value.code) == (task.id, "failed")
    assert isinstance(raised.value, ekiben.EkibenError)

    with pytest.raises(TaskFailed) as raised:
        client.call("work", {"fail": "input"})
    assert (raised.value.failure.code, raised.value.failure.retryable) == ("bad_input", False)
    with pytest.raises(TaskFailed):
        client.output_to(task, tmp_path / "never")
    assert os.listdir(tmp_path) == []


def test_a_waiting_task_is_canceled_and_says_so(client: Any) -> None:
    task = client.submit("echo", 1, delay=timedelta(hours=1))
    with pytest.raises(NotFinished):
        client.output(task)
    with pytest.raises(NotFinished):
        client.retry(task)
    canceled = client.cancel(task)
    assert (canceled.result, canceled.task.state) == ("canceled", "canceled")
    assert client.cancel(task).result == "canceled"
    done = client.submit_and_wait("echo", 1)
    assert client.cancel(done).result == "already_finished"
    with pytest.raises(TaskCanceled) as raised:
        client.output(task)
    assert raised.value.task.id == task.id
    assert client.wait(task).state == "canceled"


def test_a_wait_that_is_over_tells_how_the_task_stands(client: Any) -> None:
    task = client.submit("echo", 1, delay=3600)
    with pytest.raises(WaitTimedOut, match="pending") as raised:
        client.wait(task, timeout=0.2)
    assert raised.value.task.state == "pending"
    assert isinstance(raised.value, TimeoutError)
    with pytest.raises(WaitTimedOut):
        client.call("echo", 1, delay=3600, wait=0.2)
    client.cancel(task)


def test_a_running_task_is_not_canceled_without_force(client: Any, server: Server) -> None:
    task = server.blocked(client, "unforced")
    with pytest.raises(AlreadyStarted):
        client.cancel(task)
    server.open_gate("unforced")
    assert client.wait(task).state == "completed"


def test_a_finished_task_is_run_again_as_a_new_one(client: Any) -> None:
    first = client.submit_and_wait("echo", {"n": 1})
    second = client.retry(first)
    assert second.id != first.id
    assert client.wait(second).state == "completed"
    assert client.output(second) == {"n": 1}


def test_what_is_not_there_is_named(client: Any) -> None:
    with pytest.raises(TaskNotFound) as raised:
        client.get(NO_TASK)
    assert (raised.value.status, raised.value.code) == (404, "task_not_found")
    for ask in (client.output, client.input, client.wait, client.cancel, client.retry):
        with pytest.raises(TaskNotFound):
            ask(NO_TASK)
    with pytest.raises(EndpointNotFound):
        client.submit("nowhere", 1)
    with pytest.raises(ValueError, match="empty"):
        client.get("")


def test_tasks_are_listed_by_pages_newest_first(client: Any) -> None:
    made = [client.submit("paced", n, delay=3600).id for n in range(5)]
    listed = [task.id for task in client.tasks(endpoint="paced", state="pending", page_size=2)]
    assert listed[:5] == made[::-1]
    assert next(iter(client.tasks(page_size=1))).endpoint
    with pytest.raises(BadRequest):
        list(client.tasks(state="lost"))
    for task in made:
        client.cancel(task)


def test_inputs_are_mapped_in_order_and_failures_are_results(client: Any) -> None:
    inputs = [{"give": 1}, {"fail": "two"}, {"give": [3]}]
    results = list(client.map("work", inputs, concurrency=2))
    assert [result.index for result in results] == [0, 1, 2]
    assert (results[0].value(), results[2].output) == (1, [3])
    assert "two" in results[1].error.failure.message
    with pytest.raises(TaskFailed):
        results[1].value()
    assert list(client.map("echo", [])) == []
    with pytest.raises(ValueError, match="concurrency"):
        list(client.map("echo", [1], concurrency=0))


def test_a_map_takes_no_more_inputs_than_may_be_unfinished(client: Any) -> None:
    taken = []

    def inputs() -> Any:
        for n in range(100):
            taken.append(n)
            yield n

    results = client.map("echo", inputs(), concurrency=3)
    assert next(results).output == 0
    assert len(taken) == 4
    assert sorted(result.output for result in results) == list(range(1, 100))


def test_a_server_that_is_not_there_is_tried_again_and_then_named(connect: Any) -> None:
    # Port 1 is nobody's.
    client = connect("http://127.0.0.1:1", retries=Retries(tries=3, first_pause=0.01))
    with pytest.raises(ServerUnavailable, match="POST /v1/endpoints/echo/tasks"):
        client.submit("echo", 1)
    with pytest.raises(EkibenError):
        client.get(NO_TASK)


def test_a_wait_outlives_the_servers_death(connect: Any, own_server: Server) -> None:
    client = connect(own_server.url, retries=Retries(tries=60, longest_pause=1.0))
    task = own_server.blocked(client, "outlived", give="still here")
    own_server.kill()
    # The worker dies with it, and the attempt runs again.
    own_server.open_gate("outlived")
    threading.Timer(0.5, own_server.start).start()
    assert client.wait(task).state == "completed"
    assert client.output(task) == "still here"


def test_the_two_clients_say_the_same() -> None:
    def face(kind: type) -> dict[str, list[str]]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(member).parameters) for name, member in members if name[0] != "_"}

    assert face(ekiben.Client) == face(ekiben.AsyncClient)
    docs = {name: getattr(ekiben.Client, name).__doc__ for name in face(ekiben.Client)}
    assert docs == {name: getattr(ekiben.AsyncClient, name).__doc__ for name in docs} and all(docs.values())


def test_the_server_is_that_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKIBEN_SERVER", server.url + "/")
    with ekiben.Client() as client:
        assert client.call("echo", 1) == 1
    with pytest.raises(ValueError, match="http://127.0.0.1:3000"):
        ekiben.Client("localhost:3000")


def test_a_worker_needs_no_httpx(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['httpx'] = None\n"
        "import ekiben\n"
        "assert not any(name.startswith(('ekiben.client', 'anyio')) for name in sys.modules)\n"
        "try: ekiben.Client\n"
        "except ImportError as error: print(error)\n"
        "from ekiben import *\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "pip install 'ekiben[client]'" in ran.stdout
