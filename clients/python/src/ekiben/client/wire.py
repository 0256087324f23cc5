"""How an operation talks with its client, and when a request is made again. No byte is sent here.

An operation is a generator. It yields commands (make this request, read on, sleep, give this to the caller) and is sent
what came of each; its return value is its result. What carries commands out is a client: the blocking one and the
asynchronous one are the same few lines around `advance`, and everything else is written once.
"""

from __future__ import annotations

import enum
import json
import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union

from .bodies import Body, decoded
from .errors import EkibenError, ServerUnavailable, error_class

T = TypeVar("T")

PROBLEM = "application/problem+json"


class Repeat(enum.Enum):
    """Whether a request may be made again when it is not known what became of it."""

    ALWAYS = "always"
    """Made twice, it does what it does once."""
    UNDONE = "undone"
    """Only if it cannot have been carried out: it never reached the server, or was refused for now."""


@dataclass(frozen=True)
class Request:
    """A request of the API."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    repeat: Repeat = Repeat.ALWAYS
    patience: float = 0.0
    """How many seconds longer than others it may go without an answer, or without its body being taken."""
    of_task: bool = False
    """Whether what it asks for is what a task's executor said, with whatever status that was."""


@dataclass(frozen=True)
class Answer:
    """An answer; for a stream that is being opened, its head alone, unless it is an error."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes = b""

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    def value(self) -> Any:
        """The body, decoded for its content type."""
        return decoded(self.body, self.content_type)

    def object(self) -> dict[str, Any]:
        """The body as the JSON object that the API promises."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise EkibenError(f"the answer is not Ekiben's: {self.body[:100]!r}", status=self.status)
        return value

    @property
    def is_waited_for(self) -> bool:
        """Whether it is a task's output, to a submission that preferred to wait for it."""
        return "preference-applied" in self.headers and "ekiben-task-id" in self.headers and self.status != 202

    @property
    def is_problem(self) -> bool:
        """Whether the API itself says that something is wrong. What a task answered has its own form, and no code."""
        kind = (self.content_type or "").partition(";")[0].strip().lower()
        return self.status >= 400 and kind == PROBLEM and "code" in _object_or_nothing(self.body)


class ConnectionLost(Exception):
    """There is no answer, or it broke off."""

    def __init__(self, detail: str, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent
        """Whether the request may have reached the server."""


# Commands.


@dataclass(frozen=True)
class Exchange:
    """Make a request; the reply is the whole Answer."""

    request: Request


@dataclass(frozen=True)
class Open:
    """Make a request; the reply is the Answer's head, and `Read` gives its body piece by piece.

    What was opened before is closed, and so is this when the operation ends.
    """

    request: Request


@dataclass(frozen=True)
class Read:
    """The next piece of what is open; empty at its end."""


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Emit:
    """Give this to the caller, who iterates."""

    item: Any


@dataclass(frozen=True)
class Done:
    """The operation has ended, with this result."""

    value: Any


Command = Union[Exchange, Open, Read, Sleep, Emit]
Steps = Generator[Command, Any, T]


def advance(steps: Steps[T], reply: object = None) -> Command | Done:
    """What is to be done next, after this reply to the command before. A ConnectionLost is a reply, too."""
    try:
        return steps.throw(reply) if isinstance(reply, ConnectionLost) else steps.send(reply)
    except StopIteration as done:
        return Done(done.value)


# When a request is made again.


@dataclass(frozen=True)
class Retries:
    """How often, and how soon after each other, a request is tried that met no answer or a server without room.

    The pause doubles from one try to the next; between half of it and the whole, at random, is waited.
    """

    tries: int = 6
    """The most tries of one request, the first included."""
    first_pause: float = 0.25
    """Seconds before the second try, or somewhat less."""
    longest_pause: float = 15.0
    """The longest pause, in seconds. A server that asks for a longer one is not waited for."""

    def pause(self, tried: int, retry_after: float | None = None) -> float | None:
        """How many seconds to wait after so many tries; None to give up."""
        if tried >= self.tries or (retry_after is not None and retry_after > self.longest_pause):
            return None
        pause = min(self.first_pause * 2.0 ** min(tried - 1, 60), self.longest_pause)
        jittered = pause * random.uniform(0.5, 1.0)
        # Sooner than the server asked for is vain, and all its clients at the same moment is what it cannot use.
        return jittered if retry_after is None else min(retry_after + jittered / 2, self.longest_pause + pause)


NEVER_AGAIN = Retries(tries=1)

_MAY_PASS = frozenset({429, 502, 503, 504})
_UNDONE = frozenset({429, 503})
_ENDS = frozenset({"task_failed", "canceled"})
"""The codes that tell how a task ended, under whatever status."""


def carry_out(request: Request, retries: Retries, command: type[Exchange | Open] = Exchange) -> Steps[Answer]:
    """The answer to a request, which is made again as long as that may help. Raises for a refusal.

    What a task's executor said is no refusal, whatever its status.
    """
    tried = 0
    while True:
        tried += 1
        trouble: EkibenError
        try:
            answer: Answer = yield command(request)
        except ConnectionLost as lost:
            trouble = ServerUnavailable(f"{request.method} {request.path}: {lost}")
            again = request.repeat is Repeat.ALWAYS or not lost.sent
        else:
            if answer.status < 400 or answer.is_waited_for or (request.of_task and not answer.is_problem):
                return answer
            trouble = error_of(answer)
            again = answer.status in (_MAY_PASS if request.repeat is Repeat.ALWAYS else _UNDONE)
            again = again and trouble.code not in _ENDS
        repeatable = request.body is None or request.body.repeatable
        pause = retries.pause(tried, trouble.retry_after) if again and repeatable else None
        if pause is None:
            raise trouble
        yield Sleep(pause)


def error_of(answer: Answer) -> EkibenError:
    """The exception for a refusal."""
    said = _object_or_nothing(answer.body)
    detail = said.get("detail") or said.get("error") or said.get("title")
    detail = detail or answer.body[:200].decode(errors="replace").strip() or "no reason was given"
    code = str(said.get("code") or "")
    status = answer.status
    error = error_class(code, status)(str(detail), status=status, code=code, retry_after=_retry_after(answer))
    error.problem = said
    return error


def _object_or_nothing(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after(answer: Answer) -> float | None:
    try:
        return max(float(answer.headers["retry-after"]), 0.0)
    except (KeyError, ValueError):
        return None
