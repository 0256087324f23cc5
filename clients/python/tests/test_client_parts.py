"""The parts of the client that touch no network: streams taken apart, pauses, options and answers as they are read."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from ekiben.client import EkibenError, Event, QueueFull, Retries, Task
from ekiben.client.bodies import decoded
from ekiben.client.options import duration_text, tags_text, time_text
from ekiben.client.results import parse_time
from ekiben.client.streams import Events, Lines
from ekiben.client.wire import Answer, ConnectionLost, Done, Repeat, Request, Sleep, advance, carry_out

STREAM = (
    b": hello\n\nid: 0.0\nevent: submitted\ndata: {}\n\n"
    b'id: 1.1\r\nevent: log\r\ndata: {"message":\r\ndata:  "h\xc3\xa9"}\r\n\r\n'
    b"retry: 1500\rid: 1.2\revent: progress\rdata: half\r\r:\n"
    b'id: 1.3\nevent: completed\ndata: {"cut": '
)


def test_events_are_the_same_however_their_stream_is_cut() -> None:
    expected = [Event("0.0", "submitted", {}), Event("1.1", "log", {"message": "hé"}), Event("1.2", "progress", "half")]
    for size in (1, 2, 3, 7, len(STREAM)):
        events = Events()
        pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
        assert [event for piece in pieces for event in events.feed(piece)] == expected
        assert events.retry == 1.5


def test_lines_are_the_same_however_their_stream_is_cut() -> None:
    for size in (1, 3, 100):
        lines, data = Lines(), b"a\r\n\r\nb\nc\rlast"
        found = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
        assert [*found, *lines.end()] == ["a", "", "b", "c", "last"]


def test_pauses_double_with_jitter_and_end() -> None:
    retries = Retries(tries=5, first_pause=1.0, longest_pause=3.0)
    for tried, longest in ((1, 1.0), (2, 2.0), (3, 3.0), (4, 3.0)):
        pauses = [retries.pause(tried) or 0.0 for _ in range(200)]
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert max(pauses) - min(pauses) > longest / 10
    assert retries.pause(5) is None
    assert all(2.0 <= (retries.pause(1, retry_after=2.0) or 0.0) <= 2.5 for _ in range(200))
    assert retries.pause(1, retry_after=3.1) is None


def play(request: Request, *replies: object, tries: int = 6) -> tuple[list[str], object]:
    """What is done to carry a request out where these are the replies, and what comes of it."""
    steps, told, reply = carry_out(request, Retries(tries=tries)), [], iter(replies)
    command = advance(steps)
    while not isinstance(command, Done):
        told.append(type(command).__name__)
        try:
            command = advance(steps, None if isinstance(command, Sleep) else next(reply))
        except EkibenError as error:
            return told, error
    return told, command.value


def problem(status: int, code: str, **headers: str) -> Answer:
    body = json.dumps({"code": code, "detail": "so it is"}).encode()
    return Answer(status, {"content-type": "application/problem+json", **headers}, body)


NO_ANSWER, NEVER_SENT = ConnectionLost("gone", sent=True), ConnectionLost("refused", sent=False)
FULL, FINE = problem(503, "queue_full", **{"retry-after": "1"}), Answer(200, {})
GET, RETRY = Request("GET", "/"), Request("POST", "/", repeat=Repeat.UNDONE)


def test_a_request_is_made_again_where_that_may_help_and_does_no_harm() -> None:
    again, once = ["Exchange", "Sleep", "Exchange"], ["Exchange"]
    for first in (NO_ANSWER, NEVER_SENT, FULL, problem(502, ""), Answer(504, {}, b"<html>")):
        assert play(GET, first, FINE) == (again, FINE)
    for first in (NEVER_SENT, FULL):
        assert play(RETRY, first, FINE) == (again, FINE)
    for first in (NO_ANSWER, problem(502, "")):
        assert play(RETRY, first, FINE)[0] == once
    for first in (problem(404, "task_not_found"), problem(503, "task_failed"), problem(500, "store_failed")):
        told, error = play(GET, first, FINE)
        assert told == once and isinstance(error, EkibenError) and error.status == first.status
    told, error = play(GET, FULL, FULL, FULL, tries=3)
    assert told == ["Exchange", "Sleep"] * 2 + once
    assert isinstance(error, QueueFull) and (error.retry_after, str(error)) == (1.0, "so it is (queue_full, 503)")
    assert play(GET, problem(503, "x", **{"retry-after": "3600"}))[0] == once


def test_what_a_task_answered_is_never_taken_for_a_word_of_the_server() -> None:
    own = Answer(503, {"content-type": "application/problem+json"}, b'{"detail": "the model is ill"}')
    assert play(Request("GET", "/", of_task=True), own) == (["Exchange"], own)
    assert play(GET, own, FINE)[1] == FINE
    waited = Answer(502, {"preference-applied": "wait=20", "ekiben-task-id": "0" * 32}, b"bad")
    assert play(Request("POST", "/"), waited) == (["Exchange"], waited)


def test_durations_times_and_tags_are_written_as_ekiben_reads_them() -> None:
    written = [duration_text(value) for value in (0, 30, 1.5, 0.0001, 0.3, timedelta(days=1), 29.99999999)]
    assert written == ["0s", "30s", "1500ms", "1ms", "300ms", "86400s", "30s"]
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds"):
            duration_text(wrong)
    east = timezone(timedelta(hours=2))
    assert time_text(datetime(2026, 11, 25, 15, 0, tzinfo=east)) == "2026-11-25T13:00:00.000000Z"
    assert tags_text({"a": "1", "b c": "x=y,z"}) == "a=1, b%20c=x%3Dy%2Cz"
    assert tags_text({}) is None


def test_times_are_read_with_any_number_of_digits() -> None:
    moment = datetime(2026, 11, 25, 13, 15, 41, 222358, timezone.utc)
    assert parse_time("2026-11-25T13:15:41.222358Z") == moment
    assert parse_time("2026-11-25T15:15:41.222358999+02:00") == moment
    assert parse_time("2026-11-25T13:15:41Z") == moment.replace(microsecond=0)
    with pytest.raises(ValueError, match="not a time"):
        parse_time("yesterday")


def test_what_a_newer_server_says_is_passed_over_and_what_an_older_does_not_say_is_nothing() -> None:
    task = Task.parse({"id": "a", "state": "dreaming", "mood": 3, "failure": {"code": "odd", "weight": 1}})
    assert (task.state, task.finished, task.priority, task.failure and task.failure.code) == (
        "dreaming",
        False,
        5,
        "odd",
    )


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        (b'{"a":1}', "application/json; charset=utf-8", {"a": 1}),
        (b"[1]", "application/problem+json", [1]),
        (b"", "application/json", None),
        ("hé".encode("latin-1"), "text/plain; charset=iso-8859-1", "hé"),
        (b"\xff", "text/plain", b"\xff"),
        (b"\x89PNG", "image/png", b"\x89PNG"),
        (b"x", None, b"x"),
    ],
)
def test_a_body_is_decoded_for_its_content_type(data: bytes, content_type: str | None, value: object) -> None:
    assert decoded(data, content_type) == value
