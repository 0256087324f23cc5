"""A canceled attempt stops soon, says so, and leaves nothing to the next."""

from __future__ import annotations

import random
import time

from ekiben_harness import Worker

SLEEPER = """
import asyncio, time

@ekiben.task
def sleeper(seconds: float) -> str:
    ekiben.progress(0)
    time.sleep(seconds)
    return "slept"

@ekiben.task
def busy() -> None:
    ekiben.progress(0)
    while True:
        pass

@ekiben.task
def asks() -> None:
    ekiben.progress(0)
    while not ekiben.canceled():
        pass

@ekiben.task
def talker(lines: int) -> int:
    for line in range(lines):
        ekiben.log("x" * 500)
    return lines

@ekiben.task
def quick() -> None:
    pass
"""

ASYNC = """
import asyncio

@ekiben.task
async def sleeper(seconds: float) -> str:
    ekiben.progress(0)
    await asyncio.sleep(seconds)
    return "slept"

@ekiben.task
async def quick() -> None:
    pass
"""


def test_a_sleep_in_the_main_thread_is_cut_short() -> None:
    with Worker.of(SLEEPER) as worker:
        assert cancel_once_running(worker, "sleeper", b'{"seconds": 60}') < 1
        assert worker.call("quick") is None


def test_a_loop_is_cut_short_in_the_main_thread_and_in_a_pool() -> None:
    for options in [(), ("--threads", "3")]:
        with Worker.of(SLEEPER, *options) as worker:
            assert cancel_once_running(worker, "busy", b"") < 1
            assert worker.call("quick") is None


def test_a_task_in_a_pool_may_ask() -> None:
    with Worker.of(SLEEPER, "--threads", "2") as worker:
        assert cancel_once_running(worker, "asks", b"", ends=("canceled", "done")) < 1


def test_a_coroutine_is_cut_short() -> None:
    with Worker.of(ASYNC) as worker:
        assert cancel_once_running(worker, "sleeper", b'{"seconds": 60}') < 1
        assert worker.call("quick") is None


def test_a_cancel_that_races_with_the_end_stays_with_its_attempt() -> None:
    for source, options in [(SLEEPER, ()), (SLEEPER, ("--threads", "2")), (ASYNC, ())]:
        with Worker.of(source, *options) as worker:
            ends = [race(worker, "quick", b"", random.random() * 100e-6) for _ in range(1500)]
            assert set(ends) <= {"done", "canceled"}
            assert worker.call("quick") is None
            print(f"\n{options}: {ends.count('canceled')} of {len(ends)} were canceled")


def test_a_cancel_never_cuts_a_frame() -> None:
    for options in [(), ("--threads", "2")]:
        with Worker.of(SLEEPER, *options) as worker:
            ends = [race(worker, "talker", b'{"lines": 30}', random.random() * 1000e-6) for _ in range(300)]
            assert set(ends) <= {"done", "canceled"}
            assert "canceled" in ends
            assert worker.call("quick") is None


def test_a_cancel_of_what_has_ended_means_nothing() -> None:
    with Worker.of(SLEEPER) as worker:
        ended = worker.ask("quick").header["id"]
        worker.cancel(ended)
        worker.cancel(999)
        assert worker.call("quick") is None


def test_a_task_may_clean_up_when_canceled() -> None:
    source = """
    import time

    @ekiben.task
    def work() -> None:
        try:
            ekiben.progress(0)
            time.sleep(60)
        finally:
            ekiben.log("cleaned")
    """
    with Worker.of(source) as worker:
        attempt = worker.run("work")
        assert worker.hear().type == "progress"
        worker.cancel(attempt)
        assert [worker.hear().type, worker.hear().type] == ["log", "canceled"]


def test_what_an_interrupt_turned_into_is_still_an_interrupt() -> None:
    source = """
    import time

    @ekiben.task
    def work() -> None:
        try:
            ekiben.progress(0)
            time.sleep(60)
        except BaseException as error:
            raise ValueError("wrapped") from error
    """
    with Worker.of(source) as worker:
        assert cancel_once_running(worker, "work", b"") < 1


def test_a_pool_runs_as_many_at_a_time_as_it_was_told() -> None:
    for source, options in [(SLEEPER, ("--threads", "4")), (ASYNC, ("--threads", "4"))]:
        with Worker.of(source, *options) as worker:
            assert worker.hello["concurrency"] == 4
            begun = time.monotonic()
            attempts = {worker.run("sleeper", b'{"seconds": 0.5}') for _ in range(4)}
            ended = {worker.hear().header["id"] for _ in range(8)}
            assert ended == attempts and time.monotonic() - begun < 1.5


def cancel_once_running(worker: Worker, task: str, body: bytes, ends: tuple[str, ...] = ("canceled",)) -> float:
    """Cancels a task that has reported progress; gives the seconds until it said canceled."""
    attempt = worker.run(task, body)
    assert worker.hear().type == "progress"
    time.sleep(0.05)
    begun = time.monotonic()
    worker.cancel(attempt)
    said = worker.hear()
    assert said.type in ends and said.header["id"] == attempt, (said, worker.log())
    return time.monotonic() - begun


def race(worker: Worker, task: str, body: bytes, pause: float) -> str:
    """Runs a task and cancels it a moment later; gives how it ended. No frame of another attempt may be heard."""
    attempt = worker.run(task, body)
    until = time.perf_counter() + pause
    while time.perf_counter() < until:
        pass
    worker.cancel(attempt)
    while True:
        said = worker.hear()
        assert said.header["id"] == attempt, (said, worker.log())
        if said.type not in ("progress", "log"):
            return said.type
