"""What goes wrong between a client and Ekiben, as exceptions. All of them are EkibenError.

Which exception a refusal becomes is decided by its code, the stable word of an `application/problem+json` answer, and
by its status where the code is none that we know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import Failure, Task


class EkibenError(Exception):
    """A request that Ekiben, or what lies between, did not answer as was asked for."""

    def __init__(
        self, detail: str, *, status: int | None = None, code: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        """What happened, for people."""
        self.status = status
        """The answer's HTTP status; None where there was no answer."""
        self.code = code
        """The stable word for it, such as `task_not_found`."""
        self.retry_after = retry_after
        """After how many seconds it is worth trying again, where the server says so."""
        self.problem: Mapping[str, Any] = {}
        """All that the answer said; where lines of a batch were refused, `lines` says which and why."""

    def __str__(self) -> str:
        known = [self.code] if self.code else []
        known += [str(self.status)] if self.status is not None else []
        return f"{self.detail} ({', '.join(known)})" if known else self.detail


class BadRequest(EkibenError):
    """The request is not what Ekiben takes: an option, an input or a filter that it refuses. Sending it again is vain."""


class TooLarge(BadRequest):
    """The input is larger than the server's limit."""


class IdempotencyMismatch(BadRequest):
    """The idempotency key was used before, with another input."""


class NotFound(EkibenError):
    """There is no such thing at this server."""


class TaskNotFound(NotFound):
    """There is no such task. Perhaps it was kept as long as it was to be, or deleted."""


class EndpointNotFound(NotFound):
    """There is no such endpoint."""


class BatchNotFound(NotFound):
    """There is no such batch."""


class Conflict(EkibenError):
    """The task is in another state than the request is for."""


class NotFinished(Conflict):
    """The task has not ended yet, and what was asked for is of tasks that have."""


class AlreadyStarted(Conflict):
    """The task runs, and was not to be canceled by force."""


class ServerUnavailable(EkibenError):
    """Ekiben cannot be reached, or cannot serve the request now, and tries enough were made."""


class QueueFull(ServerUnavailable):
    """Ekiben takes no more tasks for now. `retry_after` says when it is worth trying again."""


class WaitTimedOut(EkibenError, TimeoutError):
    """The task did not end in the time that the caller wanted to wait. It goes on."""

    def __init__(self, task: Task, seconds: float) -> None:
        super().__init__(f"task {task.id} has not ended within {seconds:g} s: it is {task.state}, and goes on")
        self.task = task
        """The task as it was then."""


class TaskFailed(EkibenError):
    """The task has failed, and its output was asked for."""

    def __init__(
        self,
        task: Task,
        *,
        status: int | None = None,
        output: Any = None,
        content_type: str | None = None,
    ) -> None:
        failure = task.failure
        detail = f"task {task.id} failed" + (f": {failure.message}" if failure else "")
        super().__init__(detail, status=status, code=failure.code if failure else "task_failed")
        self.task = task
        self.failure: Failure | None = failure
        """Why it failed."""
        self.output = output
        """What the executor answered when it failed, decoded; None where there was no answer."""
        self.content_type = content_type


class TaskCanceled(EkibenError):
    """The task was canceled, and its output was asked for."""

    def __init__(self, task: Task, *, status: int | None = None) -> None:
        reason = f": {task.failure.message}" if task.failure else ""
        super().__init__(f"task {task.id} was canceled{reason}", status=status, code="canceled")
        self.task = task
        self.failure: Failure | None = task.failure
        """Why, where it was not a client that canceled it: `expired` when it was not started in time, and so on."""


BY_CODE: dict[str, type[EkibenError]] = {
    "task_not_found": TaskNotFound,
    "endpoint_not_found": EndpointNotFound,
    "batch_not_found": BatchNotFound,
    "not_finished": NotFinished,
    "already_started": AlreadyStarted,
    "idempotency_mismatch": IdempotencyMismatch,
    "queue_full": QueueFull,
    "endpoint_full": QueueFull,
}

BY_STATUS: dict[int, type[EkibenError]] = {
    400: BadRequest,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: BadRequest,
    416: BadRequest,
    422: BadRequest,
    429: QueueFull,
    502: ServerUnavailable,
    503: ServerUnavailable,
    504: ServerUnavailable,
}


def error_class(code: str, status: int) -> type[EkibenError]:
    """The exception for a refusal."""
    return BY_CODE.get(code) or BY_STATUS.get(status, EkibenError)
