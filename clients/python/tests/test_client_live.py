"""The client and what tasks tell while they run: events, logs, progress; attempts and how they are stopped."""

from __future__ import annotations

from typing import Any

import pytest

from ekiben.client import Event, Retries, TaskCanceled, TaskNotFound
from ekiben_server import NO_TASK, Server, Wire, until


def ids(events: list[Event]) -> list[tuple[int, ...]]:
    return [tuple(map(int, event.id.split("."))) for event in events]


def test_events_tell_a_tasks_life_to_its_end(client: Any, server: Server) -> None:
    task = server.blocked(client, "told", say=["one", "!two"], give=1)
    events = client.events(task)
    heard = [next(events)]
    # A progress stands until the next: who comes later hears of the last one alone.
    while not (heard[-1].type == "progress" and heard[-1].data["fraction"] == 1):
        heard.append(next(events))
    server.open_gate("told")
    heard += list(events)
    assert [heard[0].type, heard[1].type, heard[-1].type] == ["submitted", "started", "completed"]
    assert [heard[0].id, heard[1].id] == ["0.0", "1.0"] and heard[-1].last
    assert ids(heard) == sorted(set(ids(heard)))
    lines = [event.data for event in heard if event.type == "log"]
    assert [(line["level"], line["message"]) for line in lines] == [("info", "one"), ("warning", "!two")]

    # Of a task that has ended, and from after an event.
    again = list(client.events(task, last_event_id="1.0"))
    assert again[-1].type == "completed" and all(event.type not in ("submitted", "started") for event in again)
    assert list(client.events(task, last_event_id=heard[-1].id)) == []
    with pytest.raises(TaskNotFound):
        list(client.events(NO_TASK))


def test_events_go_on_after_a_cut_and_none_is_missed_or_told_twice(connect: Any, server: Server) -> None:
    with Wire(server.port) as wire:
        client = connect(wire.url, retries=Retries(tries=8, first_pause=0.02))
        task = server.blocked(client, "cut", say=["a", "b", "c"])
        events = client.events(task)
        heard = [next(events), next(events)]
        wire.cut()
        while [event.type for event in heard].count("log") < 3:
            heard.append(next(events))
        wire.cut()
        server.open_gate("cut")
        heard += list(events)
    assert ids(heard) == sorted(set(ids(heard)))
    assert [event.data["message"] for event in heard if event.type == "log"] == ["a", "b", "c"]
    assert heard[-1].type == "completed"


def test_a_running_task_tells_its_progress_and_its_log(client: Any, server: Server) -> None:
    task = server.blocked(client, "telling", say=["reading", "thinking"])
    until("its progress", lambda: client.get(task).progress)
    until("its second line", lambda: len(client.logs(task).lines) == 2)
    running, logs = client.get(task), client.logs(task)
    assert running.state == "in_progress" and 0 < running.progress.fraction <= 1
    assert [line.message for line in logs.lines] == ["reading", "thinking"]
    assert (logs.attempt, logs.dropped) == (1, 0) and logs.lines[0].at is not None
    server.open_gate("telling")
    client.wait(task)


def test_a_waiting_task_tells_its_place(client: Any) -> None:
    task = client.submit("paced", 1, delay=3600)
    queue = client.get(task).queue
    assert queue is None or queue.position is None or queue.position >= 1
    client.cancel(task)


def test_a_long_poll_is_answered_by_the_end_of_the_task(client: Any, server: Server) -> None:
    task = server.blocked(client, "polled")
    server.open_gate("polled")
    assert client.wait(task, timeout=60).state == "completed"


def test_the_attempts_of_a_task_are_told(client: Any) -> None:
    task = client.submit_and_wait("work", {"give": 1})
    (attempt,) = client.attempts(task)
    assert (attempt.number, attempt.outcome, attempt.failure) == (1, "completed", None)
    assert attempt.started_at <= attempt.ended_at and attempt.node
    failed = client.submit_and_wait("work", {"fail": "why"})
    assert client.attempts(failed)[-1].failure.message == "RuntimeError: why"


def test_a_running_task_is_canceled_by_force(client: Any, server: Server) -> None:
    task = server.blocked(client, "forced")
    canceled = client.cancel(task, force=True)
    assert canceled.result in ("canceled", "cancel_requested")
    assert client.wait(task).state == "canceled"
    with pytest.raises(TaskCanceled):
        client.output(task)
