"""Runners: where attempts run. One in the main thread, several in a pool of threads, or coroutines on a loop."""

from __future__ import annotations

import asyncio
import inspect
import json
import queue
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any, Callable, Protocol

from .answers import TooLarge, collect
from .attempts import TEXT_MAX, Attempt, Canceled, here
from .errors import BadInput

Reply = tuple[str, Any]
"""A frame's header and body."""

Send = Callable[[Attempt, Reply], None]


class Runner(Protocol):
    """Runs attempts, and sends how each of them ended."""

    def prepare(self, setups: list[Callable[[], Any]]) -> None:
        """Runs the setups, where the tasks will run as well."""

    def run(self) -> None:
        """Runs what is submitted until `finish`; then what is left. For the main thread."""

    def submit(self, attempt: Attempt) -> None:
        """Takes an attempt. For the thread that reads."""

    def finish(self) -> None:
        """Nothing more will be submitted. May be called twice, from any thread and from a signal handler."""


class MainRunner:
    """One attempt at a time, in the main thread, where a signal can interrupt it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._running: Attempt | None = None

    def prepare(self, setups: list[Callable[[], Any]]) -> None:
        for setup in setups:
            setup()
        signal.signal(signal.SIGUSR1, self._interrupt)

    def run(self) -> None:
        while (attempt := self._queue.get()) is not None:
            self._running = attempt
            reply = perform(attempt)
            self._running = None
            self._send(attempt, reply)

    def submit(self, attempt: Attempt) -> None:
        attempt.interrupt = attempt.signal_main_thread
        self._queue.put(attempt)

    def finish(self) -> None:
        self._queue.put(None)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """The signal only says: look. A late one finds nothing that is armed and canceled."""
        attempt = self._running
        if attempt is not None and attempt.armed and attempt.canceled and not attempt.interrupted:
            attempt.interrupted = True
            raise Canceled


class PoolRunner:
    """So many attempts at a time, each in a thread."""

    def __init__(self, send: Send, threads: int) -> None:
        self._send = send
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]

    def prepare(self, setups: list[Callable[[], Any]]) -> None:
        for setup in setups:
            setup()

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits until the threads have done what was submitted before `finish`."""
        for thread in self._threads:
            thread.join()

    def run(self) -> None:
        self.start()
        self.join()

    def submit(self, attempt: Attempt) -> None:
        attempt.interrupt = attempt.raise_in_thread
        self._queue.put(attempt)

    def finish(self) -> None:
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        while (attempt := self._queue.get()) is not None:
            self._send(attempt, perform(attempt))


class LoopRunner:
    """Coroutines on an asyncio loop in the main thread; plain functions beside them, in a pool of threads."""

    def __init__(self, send: Send, concurrency: int) -> None:
        self._send = send
        self._loop = asyncio.new_event_loop()
        self._pool = PoolRunner(send, concurrency)
        self._running: set[asyncio.Task[None]] = set()
        self._finished: asyncio.Future[None] = self._loop.create_future()

    def prepare(self, setups: list[Callable[[], Any]]) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._set_up(setups))

    def run(self) -> None:
        self._pool.start()
        self._loop.run_until_complete(self._until_finished())
        self._pool.finish()
        self._pool.join()

    def submit(self, attempt: Attempt) -> None:
        if attempt.task.is_async:
            self._loop.call_soon_threadsafe(self._start, attempt)
        else:
            self._pool.submit(attempt)

    def finish(self) -> None:
        self._loop.call_soon_threadsafe(self._finish)

    async def _set_up(self, setups: list[Callable[[], Any]]) -> None:
        for setup in setups:
            made = setup()
            if inspect.isawaitable(made):
                await made

    def _start(self, attempt: Attempt) -> None:
        task = self._loop.create_task(self._perform(attempt))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _perform(self, attempt: Attempt) -> None:
        # What is canceled is a task of its own: one that is canceled before its first step runs not at all, and this
        # one still has to reply.
        work = self._loop.create_task(_work(attempt))
        attempt.interrupt = lambda: _cancel_soon(self._loop, work)
        if attempt.canceled:
            work.cancel()
        try:
            reply = await work
        except BaseException as error:
            attempt.interrupted = attempt.canceled
            reply = _ended(attempt, error)
        self._send(attempt, reply)

    def _finish(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    async def _until_finished(self) -> None:
        await self._finished
        while self._running:
            await asyncio.wait(self._running)


def perform(attempt: Attempt) -> Reply:
    """Runs an attempt of a plain function to its end, whatever that is."""
    token = here.set(attempt)
    try:
        try:
            attempt.arm()
            args, kwargs = _arguments(attempt)
            value = attempt.task.function(*args, **kwargs)
            if inspect.isgenerator(value):
                value = collect(list(value))
            reply = _done(attempt, value)
        finally:
            attempt.disarm()
    except BaseException as error:
        reply = _ended(attempt, error)
    here.reset(token)
    return reply


async def _work(attempt: Attempt) -> Reply:
    """An attempt of a coroutine, up to its result."""
    here.set(attempt)
    args, kwargs = _arguments(attempt)
    made = attempt.task.function(*args, **kwargs)
    value = collect([item async for item in made]) if inspect.isasyncgen(made) else await made
    return _done(attempt, value)


def failed(attempt_id: int, code: str, message: str, status: int | None = None) -> Reply:
    """The reply of an attempt that failed."""
    header: dict[str, Any] = {"type": "failed", "id": attempt_id, "code": code, "message": message[:TEXT_MAX]}
    if status is not None:
        header["status"] = status
    return json.dumps(header), b""


def _arguments(attempt: Attempt) -> tuple[tuple[Any, ...], dict[str, Any]]:
    body = attempt.body
    if body is None:
        raise MemoryError("the worker had no memory for the input")
    attempt.body = None
    return attempt.task.intake.read(attempt.headers, body)


def _done(attempt: Attempt, value: Any) -> Reply:
    body, content_type, disposition = attempt.task.output.answer(value)
    if content_type == "application/json" and disposition is None:
        return f'{{"type":"done","id":{attempt.id}}}', body
    headers = [["content-type", content_type]]
    if disposition is not None:
        headers.append(["content-disposition", disposition])
    return f'{{"type":"done","id":{attempt.id},"headers":{json.dumps(headers)}}}', body


def _ended(attempt: Attempt, error: BaseException) -> Reply:
    """How an attempt ended that gave no result. After an interrupt, whatever came out of it is the interrupt."""
    if attempt.canceled and (attempt.interrupted or isinstance(error, Canceled)):
        return f'{{"type":"canceled","id":{attempt.id}}}', b""
    if isinstance(error, BadInput):
        return failed(attempt.id, "bad_input", str(error), 400)
    if isinstance(error, TooLarge):
        return failed(attempt.id, "too_large", str(error))
    _print_traceback(error)
    if isinstance(error, MemoryError):
        return failed(attempt.id, "out_of_memory", _line(error))
    return failed(attempt.id, "failed", _line(error))


def _line(error: BaseException) -> str:
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _print_traceback(error: BaseException) -> None:
    """To standard error, from the task's own code on: our frames above it tell nothing."""
    trace = error.__traceback__
    inner = trace.tb_next if trace is not None and trace.tb_next is not None else trace
    try:
        traceback.print_exception(type(error), error, inner, file=sys.stderr)
    except (MemoryError, OSError, ValueError):
        pass  # No memory left to say it with, or standard error was closed. The reply says what matters.


def _cancel_soon(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Reply]) -> None:
    loop.call_soon_threadsafe(task.cancel)
