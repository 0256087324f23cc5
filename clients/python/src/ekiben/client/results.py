"""What Ekiben answers, as frozen dataclasses.

They are parsed tolerantly, so that a client goes on working with a newer server: keys that it does not know are passed
over, and those that are missing have the value that says nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable, TypeVar

T = TypeVar("T")
Json = Mapping[str, Any]

FINISHED = frozenset({"completed", "failed", "canceled"})
"""The states that a task never leaves."""


@dataclass(frozen=True)
class Failure:
    """Why a task or an attempt failed."""

    code: str
    """A stable word, such as `timeout` or `bad_input`."""
    message: str
    retryable: bool = False
    """Whether the same input may well succeed another time."""
    log: str | None = None
    """The end of the worker's log, where there is one."""

    @classmethod
    def parse(cls, data: Json) -> Failure:
        return cls(
            str(data.get("code", "")), str(data.get("message", "")), bool(data.get("retryable")), data.get("log")
        )


@dataclass(frozen=True)
class Progress:
    """What a running attempt told of how far it is."""

    fraction: float | None = None
    """From 0 to 1."""
    message: str | None = None
    counters: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: Json) -> Progress:
        return cls(data.get("fraction"), data.get("message"), data.get("counters") or {})


@dataclass(frozen=True)
class Span:
    """An estimated time, as the range in which it lies."""

    earliest: datetime
    latest: datetime

    @classmethod
    def parse(cls, data: Json) -> Span:
        return cls(parse_time(data["earliest"]), parse_time(data["latest"]))


@dataclass(frozen=True)
class QueueEstimate:
    """Where a waiting task stands, and when it is expected to run. None is unknown."""

    position: int | None = None
    """1 for the one that is next."""
    start: Span | None = None
    finish: Span | None = None

    @classmethod
    def parse(cls, data: Json) -> QueueEstimate:
        return cls(data.get("position"), _maybe(Span.parse, data.get("start")), _maybe(Span.parse, data.get("finish")))


@dataclass(frozen=True)
class Task:
    """A task as it was when Ekiben answered."""

    id: str
    endpoint: str
    state: str
    """`pending`, `in_progress`, `completed`, `failed` or `canceled`."""
    priority: int = 5
    """From 0, the most urgent, to 9."""
    attempt: int = 0
    """How many times it was started."""
    failures: int = 0
    """How many attempts failed."""
    crashes: int = 0
    """How many attempts died with the process that ran them."""
    submitted_at: datetime | None = None
    due_at: datetime | None = None
    """When it may start; in the future where it was delayed or waits to be tried again."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """When it is deleted."""
    start_by: datetime | None = None
    """When it is canceled if it has not started by then."""
    deadline: datetime | None = None
    """When it fails if it has not ended by then."""
    input_bytes: int = 0
    output_bytes: int = 0
    failure: Failure | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    fairness_key: str | None = None
    timeout: str | None = None
    """How long a run may take, as Ekiben writes durations (`30s`); None where it is the endpoint's."""
    max_attempts: int | None = None
    retention: str | None = None
    cancel_requested: bool = False
    batch: str | None = None
    custom_id: str | None = None
    progress: Progress | None = None
    queue: QueueEstimate | None = None
    replayed: bool = False
    """Whether a submission met the idempotency key it was given, so that this is the task of an earlier one."""

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state in FINISHED

    @classmethod
    def parse(cls, data: Json, replayed: bool = False) -> Task:
        return cls(
            id=str(data["id"]),
            endpoint=str(data.get("endpoint", "")),
            state=str(data["state"]),
            priority=int(data.get("priority", 5)),
            attempt=int(data.get("attempt") or 0),
            failures=int(data.get("failures") or 0),
            crashes=int(data.get("crashes") or 0),
            submitted_at=_maybe(parse_time, data.get("submitted_at")),
            due_at=_maybe(parse_time, data.get("due_at")),
            started_at=_maybe(parse_time, data.get("started_at")),
            finished_at=_maybe(parse_time, data.get("finished_at")),
            expires_at=_maybe(parse_time, data.get("expires_at")),
            start_by=_maybe(parse_time, data.get("start_by")),
            deadline=_maybe(parse_time, data.get("deadline")),
            input_bytes=int(data.get("input_bytes") or 0),
            output_bytes=int(data.get("output_bytes") or 0),
            failure=_maybe(Failure.parse, data.get("failure")),
            tags=data.get("tags") or {},
            fairness_key=data.get("fairness_key"),
            timeout=data.get("timeout"),
            max_attempts=data.get("max_attempts"),
            retention=data.get("retention"),
            cancel_requested=bool(data.get("cancel_requested")),
            batch=data.get("batch"),
            custom_id=data.get("custom_id"),
            progress=_maybe(Progress.parse, data.get("progress")),
            queue=_maybe(QueueEstimate.parse, data.get("queue")),
            replayed=replayed,
        )


@dataclass(frozen=True)
class Attempt:
    """One run of a task."""

    number: int
    outcome: str
    """`running`, `completed`, `failed`, `put_back`, `crashed`, `interrupted`, `canceled` or `lost`."""
    node: str | None = None
    """Which process of Ekiben ran it."""
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure: Failure | None = None
    log: str | None = None
    """The end of its log."""

    @classmethod
    def parse(cls, data: Json) -> Attempt:
        return cls(
            number=int(data.get("number") or 0),
            outcome=str(data.get("outcome", "")),
            node=data.get("node"),
            worker=data.get("worker"),
            started_at=_maybe(parse_time, data.get("started_at")),
            ended_at=_maybe(parse_time, data.get("ended_at")),
            failure=_maybe(Failure.parse, data.get("failure")),
            log=data.get("log"),
        )


@dataclass(frozen=True)
class LogLine:
    """A line that a running attempt said."""

    at: datetime | None
    level: str
    message: str

    @classmethod
    def parse(cls, data: Json) -> LogLine:
        return cls(_maybe(parse_time, data.get("at")), str(data.get("level", "info")), str(data.get("message", "")))


@dataclass(frozen=True)
class Logs:
    """The last lines of a task's latest attempt."""

    attempt: int
    lines: tuple[LogLine, ...]
    dropped: int = 0
    """How many earlier lines are kept no more."""

    @classmethod
    def parse(cls, data: Json) -> Logs:
        lines = tuple(LogLine.parse(line) for line in data.get("lines") or ())
        return cls(int(data.get("attempt") or 0), lines, int(data.get("dropped") or 0))


@dataclass(frozen=True)
class Event:
    """A step in the life of a task."""

    id: str
    """`ATTEMPT.STEP`: give it as `last_event_id` to hear what came after."""
    type: str
    """`submitted`, `started`, `progress`, `log`, `put_back`, `completed`, `failed` or `canceled`."""
    data: Any = None

    @property
    def last(self) -> bool:
        """Whether the task has ended with it."""
        return self.type in FINISHED


@dataclass(frozen=True)
class Cancellation:
    """What came of a cancel."""

    result: str
    """`canceled`; `cancel_requested`, where the attempt that runs was told to stop; or `already_finished`."""
    task: Task

    @classmethod
    def parse(cls, data: Json) -> Cancellation:
        return cls(str(data.get("result", "")), Task.parse(data["task"]))


@dataclass(frozen=True)
class Rates:
    """How many tasks come and go in a minute, of late."""

    submitted_per_minute: float | None = None
    finished_per_minute: float | None = None

    @classmethod
    def parse(cls, data: Json) -> Rates:
        return cls(data.get("submitted_per_minute"), data.get("finished_per_minute"))


@dataclass(frozen=True)
class Quantiles:
    """How long something took, in seconds: half of the times at most `p50`, and so on."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None

    @classmethod
    def parse(cls, data: Json) -> Quantiles:
        return cls(data.get("p50"), data.get("p90"), data.get("p99"))


@dataclass(frozen=True)
class EndpointInfo:
    """An endpoint: what it takes and gives, and how it stands."""

    name: str
    description: str | None = None
    input_schema: Any = None
    output_schema: Any = None
    paused: bool = False
    concurrency: int | None = None
    """How many of its tasks run at a time."""
    running: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many tasks are in each state."""
    oldest_waiting_seconds: float | None = None
    rates: Rates = Rates()
    run_seconds: Quantiles | None = None
    queue_seconds: Quantiles | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What holds for a task that does not say otherwise: timeout, retention, max_attempts, priority."""

    @classmethod
    def parse(cls, data: Json) -> EndpointInfo:
        return cls(
            name=str(data["name"]),
            description=data.get("description"),
            input_schema=data.get("input_schema"),
            output_schema=data.get("output_schema"),
            paused=bool(data.get("paused")),
            concurrency=data.get("concurrency"),
            running=int(data.get("running") or 0),
            counts=data.get("counts") or {},
            oldest_waiting_seconds=data.get("oldest_waiting_seconds"),
            rates=Rates.parse(data.get("rates") or {}),
            run_seconds=_maybe(Quantiles.parse, data.get("run_seconds")),
            queue_seconds=_maybe(Quantiles.parse, data.get("queue_seconds")),
            defaults=data.get("defaults") or {},
        )


@dataclass(frozen=True)
class Batch:
    """Many tasks that were submitted together."""

    id: str
    endpoint: str
    state: str
    """`receiving`, `running`, `completed` or `canceled`."""
    priority: int | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """When it is deleted."""
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many of its tasks are in each state."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """How many failed for which reason, by the failure's code."""
    refused: int = 0
    """How many lines were refused, and are no task."""

    @property
    def finished(self) -> bool:
        """Whether all its tasks have ended."""
        return self.state in ("completed", "canceled")

    @classmethod
    def parse(cls, data: Json) -> Batch:
        return cls(
            id=str(data["id"]),
            endpoint=str(data.get("endpoint", "")),
            state=str(data["state"]),
            priority=data.get("priority"),
            created_at=_maybe(parse_time, data.get("created_at")),
            finished_at=_maybe(parse_time, data.get("finished_at")),
            expires_at=_maybe(parse_time, data.get("expires_at")),
            total=int(data.get("total") or 0),
            counts=data.get("counts") or {},
            failures=data.get("failures") or {},
            refused=int(data.get("refused") or 0),
        )


@dataclass(frozen=True)
class BatchResult:
    """What came of one line of a batch, so far."""

    custom_id: str | None
    task_id: str | None
    """None for a line that was refused."""
    state: str
    output: Any = None
    """The JSON, or the bytes where it is none; None while there is none."""
    content_type: str | None = None
    failure: Failure | None = None

    @classmethod
    def parse(cls, data: Json) -> BatchResult:
        encoded = data.get("output_base64")
        return cls(
            custom_id=data.get("custom_id"),
            task_id=data.get("task_id"),
            state=str(data.get("state", "")),
            output=data.get("output") if encoded is None else base64.b64decode(encoded),
            content_type=data.get("content_type"),
            failure=_maybe(Failure.parse, data.get("failure")),
        )


def parse_time(text: str) -> datetime:
    """A time in RFC 3339, with as many digits of a second as there are."""
    matched = _TIME.fullmatch(text)
    if matched is None:
        raise ValueError(f"{text!r} is not a time such as 2026-11-25T13:15:41.222358Z")
    date, clock, fraction, zone = matched.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    return datetime.fromisoformat(f"{date}T{clock}.{micros}{'+00:00' if zone in 'Zz' else zone}")


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")


def _maybe(parse: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else parse(value)
