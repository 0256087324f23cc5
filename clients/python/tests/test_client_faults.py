"""The client where answers are lost, connections break, and the server has no room."""

from __future__ import annotations

import os
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from ekiben.client import IdempotencyMismatch, QueueFull, Retries, ServerUnavailable
from ekiben_server import Server, Wire

SOON = Retries(tries=8, first_pause=0.02, longest_pause=2.0)
ONCE = Retries(tries=1)


def test_a_submission_whose_answer_is_lost_makes_one_task(connect: Any, server: Server) -> None:
    with Wire(server.port) as wire:
        client = connect(wire.url, retries=SOON)
        before = {task.id for task in client.tasks(endpoint="echo")}
        wire.lose = 2
        task = client.submit("echo", {"n": 1})
        assert (wire.cuts, task.replayed) == (2, False)
        made = {task.id for task in client.tasks(endpoint="echo")} - before
        assert made == {task.id}
        wire.lose = 1
        assert client.call("echo", "back") == "back"


def test_a_streamed_file_is_sent_again_from_its_start(connect: Any, server: Server, tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    path = tmp_path / "input"
    path.write_bytes(data)
    with Wire(server.port) as wire, path.open("rb") as file:
        client = connect(wire.url, retries=SOON)
        for value, expected in ((path, data), (file, data)):
            wire.lose = 1
            task = client.submit("echo", value)
            client.wait(task)
            assert client.output(task) == expected
        assert wire.cuts == 2


def test_what_cannot_be_read_again_is_sent_once(connect: Any, server: Server) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"once")
    os.close(writing)
    with Wire(server.port) as wire, os.fdopen(reading, "rb") as file:
        client = connect(wire.url, retries=SOON)
        wire.lose = 1
        with pytest.raises(ServerUnavailable):
            client.submit("echo", file)
        assert wire.cuts == 1


def test_a_retry_whose_answer_is_lost_is_not_made_again(connect: Any, server: Server) -> None:
    with Wire(server.port) as wire:
        client = connect(wire.url, retries=SOON)
        task = client.submit_and_wait("echo", 1)
        wire.lose = 1
        with pytest.raises(ServerUnavailable):
            client.retry(task)
        assert wire.cuts == 1


def test_a_download_goes_on_where_it_broke_off(connect: Any, server: Server, tmp_path: Path) -> None:
    data = os.urandom(4 << 20)
    with Wire(server.port) as wire:
        client = connect(wire.url, retries=SOON)
        task = client.submit("echo", data)
        client.wait(task)
        wire.cut_after = 1 << 20
        assert client.output_to(task, tmp_path / "output").read_bytes() == data
        assert wire.cuts == 1
        assert os.listdir(tmp_path) == ["output"]


def test_one_key_is_one_task(client: Any) -> None:
    first = client.submit("echo", {"n": 1}, idempotency_key="one key")
    again = client.submit("echo", {"n": 1}, idempotency_key="one key")
    assert (first.id, again.replayed) == (again.id, True)
    with pytest.raises(IdempotencyMismatch) as raised:
        client.submit("echo", {"n": 2}, idempotency_key="one key")
    assert raised.value.status == 422


def test_a_map_that_is_run_again_does_nothing_twice(connect: Any, server: Server) -> None:
    client = connect(server.url)
    name = f"run {uuid.uuid4()}"
    first = client.map("echo", range(6), concurrency=2, key=name)
    some = [next(first).task.id for _ in range(3)]
    again = list(client.map("echo", range(6), concurrency=2, key=name))
    assert [result.task.id for result in again][:3] == some
    assert [result.output for result in again] == list(range(6))
    by_function = list(client.map("echo", range(6), key=lambda index, value: f"{name}/{value}"))
    assert [result.task.id for result in by_function] == [result.task.id for result in again]


def test_a_full_queue_says_when_to_come_again_and_is_come_again_to(connect: Any, own_server: Server) -> None:
    client, patient = connect(own_server.url, retries=ONCE), connect(own_server.url, retries=Retries(tries=60))
    running = own_server.blocked(client, "full", endpoint="full")
    waiting = client.submit("full", {"give": 1})
    with pytest.raises(QueueFull) as raised:
        client.submit("full", {"give": 2})
    assert (raised.value.status, raised.value.code) == (503, "queue_full")
    assert raised.value.retry_after >= 1
    threading.Timer(0.5, own_server.open_gate, ["full"]).start()
    last = patient.submit("full", {"give": 3})
    assert [client.wait(task).state for task in (running, waiting, last)] == ["completed"] * 3


def test_a_map_goes_on_where_the_queue_is_shorter_than_its_window(connect: Any, own_server: Server) -> None:
    client = connect(own_server.url, retries=Retries(tries=2, first_pause=0.01, longest_pause=0.5))
    results = list(client.map("full", [{"give": n} for n in range(8)], concurrency=6))
    assert [result.output for result in results] == list(range(8))
