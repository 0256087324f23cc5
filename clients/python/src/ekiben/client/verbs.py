"""The verbs of the API as operations: which request each is, and what its answer means.

Those that go on for long, and those that give piece by piece, are in following.py.
"""

from __future__ import annotations

import math
import time
from typing import Any, Union
from urllib.parse import quote

from .bodies import body_of, decoded, json_body, lines_body
from .errors import EkibenError, NotFound, TaskCanceled, TaskFailed, WaitTimedOut
from .options import Seconds, SubmitOptions, duration_text, new_key, seconds_of, submit_headers
from .results import Attempt, Batch, Cancellation, EndpointInfo, Logs, Task
from .wire import Answer, Repeat, Request, Retries, Sleep, Steps, carry_out

TaskRef = Union[str, Task]
"""A task, or its id."""

BatchRef = Union[str, Batch]
"""A batch, or its id."""

POLL = 30.0
"""How many seconds one long poll lasts at most; proxies often end what is silent for a minute."""

POLL_PAUSE = 0.5
"""How many seconds to wait where a server did not hold a long poll."""

UPLOAD = 3600.0
"""How many seconds longer than other requests the upload of a batch may stand still."""

JSON_LINES = "application/jsonl"


class Verbs:
    """The operations, under one policy of when to try again."""

    def __init__(self, retries: Retries) -> None:
        self.retries = retries

    # To submit, and to wait.

    def submit(self, endpoint: str, value: Any, options: SubmitOptions) -> Steps[Task]:
        answer = yield from self.carry_out(submission(endpoint, value, options))
        return task_of(answer, keyed=options.get("idempotency_key") is not None)

    def submit_and_wait(self, endpoint: str, value: Any, wait: Seconds | None, options: SubmitOptions) -> Steps[Task]:
        left = _Left(wait)
        task = yield from self.submit(endpoint, value, options)
        return (yield from self._wait(task, left))

    def call(self, endpoint: str, value: Any, wait: Seconds | None, options: SubmitOptions) -> Steps[Any]:
        left = _Left(wait)
        answer = yield from self.carry_out(submission(endpoint, value, options, wait=min(POLL, left.seconds())))
        if answer.is_waited_for:
            return (yield from self._outcome(answer.headers["ekiben-task-id"], answer))
        task = yield from self._wait(task_of(answer), left)
        return (yield from self.output(task))

    def wait(self, task: TaskRef, timeout: Seconds | None) -> Steps[Task]:
        return (yield from self._wait(task, _Left(timeout)))

    def _wait(self, task: TaskRef, left: _Left) -> Steps[Task]:
        while True:
            asked, poll = time.monotonic(), min(POLL, left.seconds())
            found = yield from self.get(task, poll)
            if found.finished:
                return found
            if left.seconds() <= 0:
                raise WaitTimedOut(found, left.allowed)
            # A server that is about to stop answers at once.
            if time.monotonic() - asked < poll / 2:
                yield Sleep(min(POLL_PAUSE, left.seconds()))

    # To ask.

    def get(self, task: TaskRef, wait: float = 0.0) -> Steps[Task]:
        query = (("wait", duration_text(wait)),) if wait > 0 else ()
        answer = yield from self.carry_out(Request("GET", task_path(task), query, patience=wait))
        return task_of(answer)

    def input(self, task: TaskRef) -> Steps[Any]:
        answer = yield from self.carry_out(Request("GET", task_path(task, "input"), headers=ANY))
        return answer.value()

    def output(self, task: TaskRef) -> Steps[Any]:
        try:
            answer = yield from self.carry_out(Request("GET", task_path(task, "output"), headers=ANY, of_task=True))
        except NotFound:
            raise
        except EkibenError as error:
            yield from self.raise_for_end(task, error)
            raise
        return (yield from self._outcome(task, answer))

    def _outcome(self, task: TaskRef, answer: Answer) -> Steps[Any]:
        """What an answer with a task's output means."""
        if answer.status >= 400:
            yield from self.raise_for_end(task, answer)
        return answer.value()

    def raise_for_end(self, task: TaskRef, said: Answer | EkibenError) -> Steps[None]:
        """Raises what a task's end is, after an answer that is no output of a completed one."""
        found = yield from self.get(task)
        status, output, content_type = said.status, None, None
        if isinstance(said, Answer) and not said.is_problem:
            output, content_type = _decoded_as_said(said), said.content_type
        if found.state == "failed":
            raise TaskFailed(found, status=status, output=output, content_type=content_type)
        if found.state == "canceled":
            raise TaskCanceled(found, status=status)

    def attempts(self, task: TaskRef) -> Steps[list[Attempt]]:
        answer = yield from self.carry_out(Request("GET", task_path(task, "attempts")))
        return [Attempt.parse(attempt) for attempt in answer.object().get("attempts") or ()]

    def logs(self, task: TaskRef) -> Steps[Logs]:
        answer = yield from self.carry_out(Request("GET", task_path(task, "logs")))
        return Logs.parse(answer.object())

    # To change.

    def cancel(self, task: TaskRef, force: bool) -> Steps[Cancellation]:
        query = (("force", "true"),) if force else ()
        answer = yield from self.carry_out(Request("POST", task_path(task, "cancel"), query))
        return Cancellation.parse(answer.object())

    def retry(self, task: TaskRef) -> Steps[Task]:
        answer = yield from self.carry_out(Request("POST", task_path(task, "retry"), repeat=Repeat.UNDONE))
        return task_of(answer)

    def delete(self, task: TaskRef) -> Steps[None]:
        yield from self.carry_out(Request("DELETE", task_path(task)))

    # Endpoints.

    def endpoints(self) -> Steps[list[EndpointInfo]]:
        answer = yield from self.carry_out(Request("GET", "/v1/endpoints"))
        return [EndpointInfo.parse(endpoint) for endpoint in answer.object().get("endpoints") or ()]

    def endpoint(self, name: str) -> Steps[EndpointInfo]:
        answer = yield from self.carry_out(Request("GET", endpoint_path(name)))
        return EndpointInfo.parse(answer.object())

    def pause(self, name: str) -> Steps[EndpointInfo]:
        answer = yield from self.carry_out(Request("POST", endpoint_path(name, "pause")))
        return EndpointInfo.parse(answer.object())

    def resume(self, name: str) -> Steps[EndpointInfo]:
        answer = yield from self.carry_out(Request("POST", endpoint_path(name, "resume")))
        return EndpointInfo.parse(answer.object())

    def purge(self, name: str) -> Steps[int]:
        answer = yield from self.carry_out(Request("POST", endpoint_path(name, "purge"), repeat=Repeat.UNDONE))
        return int(answer.object().get("canceled") or 0)

    def set_concurrency(self, name: str, concurrency: int) -> Steps[EndpointInfo]:
        body = json_body({"concurrency": concurrency})
        answer = yield from self.carry_out(Request("PATCH", endpoint_path(name), body=body))
        return EndpointInfo.parse(answer.object())

    # Batches.

    def create_batch(
        self, endpoint: str, lines: Any, priority: int | str | None, idempotency_key: str | None
    ) -> Steps[Batch]:
        query = [("endpoint", endpoint)]
        query += [("priority", str(priority))] if priority is not None else []
        headers = {"idempotency-key": idempotency_key or new_key()}
        body = lines_body(lines, JSON_LINES)
        # While the queue is full, the server takes no further lines, and the upload stands.
        request = Request("POST", "/v1/batches", tuple(query), headers, body, patience=UPLOAD)
        answer = yield from self.carry_out(request)
        return Batch.parse(answer.object())

    def batch(self, batch: BatchRef) -> Steps[Batch]:
        answer = yield from self.carry_out(Request("GET", batch_path(batch)))
        return Batch.parse(answer.object())

    def cancel_batch(self, batch: BatchRef) -> Steps[Batch]:
        answer = yield from self.carry_out(Request("POST", batch_path(batch, "cancel")))
        return Batch.parse(answer.object())

    def carry_out(self, request: Request) -> Steps[Answer]:
        return carry_out(request, self.retries)


class _Left:
    """How much is left of a time to wait."""

    def __init__(self, allowed: Seconds | None) -> None:
        self.allowed = math.inf if allowed is None else seconds_of(allowed)
        self._begun = time.monotonic()

    def seconds(self) -> float:
        return max(self._begun + self.allowed - time.monotonic(), 0.0)


ANY = {"accept": "*/*"}
"""For what is not ours, and may be of any kind."""


def task_path(task: TaskRef, *more: str) -> str:
    return _path("tasks", task.id if isinstance(task, Task) else task, *more)


def endpoint_path(name: str, *more: str) -> str:
    return _path("endpoints", name, *more)


def batch_path(batch: BatchRef, *more: str) -> str:
    return _path("batches", batch.id if isinstance(batch, Batch) else batch, *more)


def _path(*parts: str) -> str:
    if not all(parts):
        raise ValueError(f"an empty name or id: /v1/{'/'.join(parts)}")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def submission(endpoint: str, value: Any, options: SubmitOptions, wait: float = 0.0) -> Request:
    headers = submit_headers(options)
    # Half a second of it is worth no more than none.
    prefer = math.floor(wait)
    if prefer > 0:
        headers = {**headers, **ANY, "prefer": f"wait={prefer}"}
    body = body_of(value, options.get("content_type"))
    return Request("POST", endpoint_path(endpoint, "tasks"), headers=headers, body=body, patience=prefer)


def task_of(answer: Answer, keyed: bool = False) -> Task:
    # A key that was made up for one call is met again by a repetition of that call alone.
    return Task.parse(answer.object(), replayed=keyed and answer.headers.get("idempotent-replayed") == "true")


def _decoded_as_said(answer: Answer) -> Any:
    try:
        return decoded(answer.body, answer.content_type)
    except ValueError:
        return answer.body
