"""The options of a submission, and how they are written on the wire."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypedDict, Union
from urllib.parse import quote

Seconds = Union[float, timedelta]
"""A duration: a number of seconds, or a timedelta."""


class SubmitOptions(TypedDict, total=False):
    """What may be said with a submission. What is left out, or None, is as the endpoint has it."""

    content_type: str | None
    """Of the input. By default JSON's, what a file's name tells, or `application/octet-stream`."""
    priority: int | str | None
    """0 to 9, or `urgent`, `high`, `normal`, `low`, `background`."""
    delay: Seconds | None
    """How long to wait before it may start."""
    not_before: datetime | None
    """The same as a time; it needs a time zone."""
    queue_ttl: Seconds | None
    """How long it may wait for its start. Then it is canceled, as `expired`."""
    timeout: Seconds | None
    """How long one run may take."""
    deadline: Seconds | None
    """How long the whole task may take, from its submission."""
    max_attempts: int | None
    """How many times it is run at most, when it fails."""
    retention: Seconds | None
    """How long it is kept once it has ended."""
    tags: Mapping[str, str] | None
    """To find it by."""
    fairness_key: str | None
    """Whose task it is: keys that wait share an endpoint's slots evenly."""
    idempotency_key: str | None
    """The same key with the same input is the same task. By default one is made up for this call."""
    webhook: str | None
    """A URL that is told when it has ended."""


def submit_headers(options: SubmitOptions) -> dict[str, str]:
    """The headers for these options. There is always an idempotency key, so that the submission may be repeated."""
    unknown = sorted(set(options) - SubmitOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(SubmitOptions.__annotations__)
        raise TypeError(f"{unknown[0]!r} is no option of a submission; there are {known}")
    if options.get("delay") is not None and options.get("not_before") is not None:
        raise ValueError("delay and not_before say the same in two ways: give one of them")
    headers: dict[str, str | None] = {
        "ekiben-priority": _text(options.get("priority")),
        "ekiben-delay": _duration("delay", options.get("delay")),
        "ekiben-not-before": _moment("not_before", options.get("not_before")),
        "ekiben-queue-ttl": _duration("queue_ttl", options.get("queue_ttl")),
        "ekiben-timeout": _duration("timeout", options.get("timeout")),
        "ekiben-deadline": _duration("deadline", options.get("deadline")),
        "ekiben-max-attempts": _text(options.get("max_attempts")),
        "ekiben-retention": _duration("retention", options.get("retention")),
        "ekiben-tags": tags_text(options.get("tags")),
        "ekiben-fairness-key": options.get("fairness_key"),
        "ekiben-webhook": options.get("webhook"),
        "idempotency-key": options.get("idempotency_key") or new_key(),
    }
    return {name: value for name, value in headers.items() if value is not None}


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return uuid.uuid4().hex


def seconds_of(value: Seconds) -> float:
    """A duration as a number of seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def duration_text(value: Seconds) -> str:
    """A duration as Ekiben reads it, to the millisecond, rounded up: `30s`, `1500ms`."""
    seconds = seconds_of(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{value!r} is not a number of seconds, 0 or more")
    milliseconds = math.ceil(round(seconds * 1000, 3))
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def time_text(value: datetime) -> str:
    """A time as Ekiben reads it, in UTC."""
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone: write datetime.now(timezone.utc), or .astimezone()")
    return value.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def tags_text(tags: Mapping[str, str] | None) -> str | None:
    """Tags as a header: `key=value, key2=value2`, percent-encoded."""
    if not tags:
        return None
    return ", ".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in tags.items())


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _duration(name: str, value: Seconds | None) -> str | None:
    return None if value is None else _named(name, duration_text, value)


def _moment(name: str, value: datetime | None) -> str | None:
    return None if value is None else _named(name, time_text, value)


def _named(name: str, write: Any, value: Any) -> str:
    try:
        return str(write(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
