"""The client and endpoints; the options of a submission; what is deleted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ekiben.client import BadRequest, EndpointNotFound, NotFinished, TaskNotFound


def test_endpoints_tell_how_they_stand(client: Any) -> None:
    names = {endpoint.name for endpoint in client.endpoints()}
    assert {"echo", "detect_language", "work"} <= names
    client.call("detect_language", {"text": "hello"})
    info = client.endpoint("detect_language")
    assert info.description == "Names the language a text is written in."
    assert info.input_schema["required"] == ["text"]
    assert info.counts["completed"] >= 1 and not info.paused
    with pytest.raises(EndpointNotFound):
        client.endpoint("nowhere")


def test_every_option_of_a_submission_is_kept(client: Any) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=2)
    task = client.submit(
        "echo",
        1,
        priority="urgent",
        not_before=later,
        queue_ttl=timedelta(hours=3),
        timeout=1.5,
        deadline=4 * 3600,
        max_attempts=2,
        retention=timedelta(minutes=5),
        tags={"project": "a b, c=d", "size": "größer"},
        fairness_key="tenant 7",
    )
    assert (task.priority, task.max_attempts, task.fairness_key) == (0, 2, "tenant 7")
    assert abs(task.due_at - later) < timedelta(minutes=1)
    assert task.start_by > task.submitted_at and task.deadline > task.start_by
    assert dict(task.tags) == {"project": "a b, c=d", "size": "größer"}
    assert task.timeout and task.retention
    assert next(client.tasks(tags={"size": "größer"}, endpoint="echo")).id == task.id
    client.cancel(task)
    with pytest.raises(BadRequest):
        client.submit("echo", 1, priority=11)


def test_a_finished_task_is_deleted_at_once(client: Any) -> None:
    task = client.submit("echo", 1, delay=3600)
    with pytest.raises(NotFinished):
        client.delete(task)
    client.cancel(task)
    assert client.delete(task) is None
    with pytest.raises(TaskNotFound):
        client.get(task)


def test_tasks_are_found_by_the_time_they_were_submitted(client: Any) -> None:
    task = client.submit("echo", 1)
    second = timedelta(seconds=1)

    def found(**times: datetime) -> bool:
        return task.id in [listed.id for listed in client.tasks(endpoint="echo", **times)]

    assert found(submitted_after=task.submitted_at - second, submitted_before=task.submitted_at + second)
    assert not found(submitted_after=task.submitted_at + second)
    assert not found(submitted_before=task.submitted_at - second)
