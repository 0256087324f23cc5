"""An attempt: one run of a task, as the worker sees it, and how it is told to stop.

An attempt may be interrupted by an exception only while it is armed. `arm` and `disarm` are called by the thread that
runs it; `interrupt` by the thread that reads frames.
"""

from __future__ import annotations

import contextvars
import ctypes
import json
import math
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .channel import Bytes, Channel
    from .tasks import Task

TEXT_MAX = 100_000
"""How many characters of a log line or of an error message are sent; in JSON that stays below a header's limit."""

_MESSAGE_MAX = 1024
"""How many characters of a progress message are sent; Ekiben cuts them to as many bytes."""

_BETWEEN_SIGNALS = 0.1

_LEVELS = ("debug", "info", "warning", "error")


class Canceled(BaseException):
    """Raised inside a task that was told to stop. Let it through, as you would a KeyboardInterrupt."""


class Attempt:
    """What `ekiben.current()` gives: which run of which task this is."""

    def __init__(self, header: Mapping[str, Any], body: Bytes | None, task: Task, channel: Channel) -> None:
        self.id: int = header["id"]
        self.task = task
        self.body = body
        self.canceled = False
        self.interrupted = False
        self.armed = False
        self.ended = False
        self.interrupt: Callable[[], None] = _nothing
        self._thread = 0
        self._told = False
        self._header = header
        self._channel = channel
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def task_id(self) -> str:
        """The task's id, the one that a client has."""
        return str(self._header.get("task_id", ""))

    @property
    def attempt(self) -> int:
        """1 for the first run, 2 for the second, and so on."""
        return int(self._header.get("attempt", 1))

    @property
    def endpoint(self) -> str:
        """The name of the endpoint that the task was submitted to."""
        return str(self._header.get("endpoint", ""))

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The request's headers that Ekiben kept, by lower-case name."""
        return {name.lower(): value for name, value in self._header.get("headers", ())}

    @property
    def timeout(self) -> float | None:
        """How many seconds the attempt was given when it started, if it was told."""
        milliseconds = self._header.get("timeout_ms")
        return None if milliseconds is None else milliseconds / 1000

    @property
    def folder(self) -> Path:
        """A folder of the attempt's own, removed once its result was sent."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ekiben-")
        return Path(self._folder.name)

    def close(self) -> None:
        """Removes what the attempt left."""
        if self._folder is not None:
            shutil.rmtree(self._folder.name, ignore_errors=True)
            self._folder.cleanup()

    def arm(self) -> None:
        """From here on the attempt may be interrupted. Raises Canceled if it should have been already."""
        self._thread = threading.get_ident()
        self.armed = True
        if self.canceled and not self.interrupted:
            self.interrupted = True
            raise Canceled

    def disarm(self) -> None:
        """From here on no exception comes from outside."""
        self.armed = False
        # Either the reader sees that the attempt is not armed, or we see that it was canceled: then it may have set
        # an exception for this thread, which we must not leave to the next attempt.
        if self.canceled:
            while not self._told:
                time.sleep(0)
            _set_exception(self._thread, None)

    def tell(self) -> None:
        """Tells the attempt to stop. Once is enough."""
        if not self.canceled:
            self.canceled = True
            self.interrupt()
            self._told = True

    def raise_in_thread(self) -> None:
        """An `interrupt` for pool threads: best effort, as a thread that waits in C does not hear of it."""
        if self.armed and not self.interrupted:
            self.interrupted = True
            _set_exception(self._thread, Canceled)

    def signal_main_thread(self) -> None:
        """An `interrupt` for the main thread: it wakes system calls such as a sleep.

        One signal may come just before such a call and leave it asleep, so they are repeated.
        """
        threading.Thread(target=self._signal_until_interrupted, name="ekiben-interrupt", daemon=True).start()

    def _signal_until_interrupted(self) -> None:
        while self.armed and not self.interrupted:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            time.sleep(_BETWEEN_SIGNALS)

    def say(self, header: str) -> None:
        """Sends a frame from within the task; nothing once it has ended, as a thread of the task's own may not know.

        No interrupt can cut it: it comes before or after.
        """
        here_armed = self.armed and self._thread == threading.get_ident()
        if here_armed:
            self.disarm()
        self._channel.send(header, unless=lambda: self.ended)
        if here_armed:
            self.arm()


def current() -> Attempt:
    """The attempt that is running here: its task_id, attempt, endpoint, headers and folder."""
    attempt = here.get()
    if attempt is None:
        raise RuntimeError("ekiben.current() was called outside a task")
    return attempt


def canceled() -> bool:
    """Whether the task was told to stop. Ask it in long loops of tasks that run in threads."""
    attempt = here.get()
    return attempt is not None and attempt.canceled


def progress(fraction: float | None = None, message: str | None = None, **counters: float) -> None:
    """Tells how far the task has come, from 0 to 1, what it is at, and what it counts: `progress(0.5, tokens=812)`.

    What is not given stays as it was. Ekiben keeps 1,024 bytes of the message and 32 counters. Outside a task it does
    nothing.
    """
    said: dict[str, object] = {}
    if fraction is not None:
        said["fraction"] = min(max(float(fraction), 0.0), 1.0)
    if message is not None:
        said["message"] = str(message)[:_MESSAGE_MAX]
    if counters:
        said["counters"] = {name: _number(name, value) for name, value in counters.items()}
    attempt = here.get()
    if attempt is not None and said:
        attempt.say(json.dumps({"type": "progress", "id": attempt.id, **said}))


def _number(name: str, value: float) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"the counter {name} is {value!r}, where a finite number is needed")
    return int(number) if number.is_integer() else number


def log(message: str, level: str = "info") -> None:
    """Writes a line to the log of the task. Outside a task it goes to standard error."""
    if level not in _LEVELS:
        raise ValueError(f"level is one of {', '.join(_LEVELS)}, not {level!r}")
    attempt = here.get()
    if attempt is None:
        print(f"{level}: {message}", file=sys.stderr)
        return
    line = {"type": "log", "id": attempt.id, "level": level, "message": str(message)[:TEXT_MAX]}
    attempt.say(json.dumps(line))


def _nothing() -> None:
    pass


def _set_exception(thread: int, exception: type[BaseException] | None) -> None:
    value = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)


here: contextvars.ContextVar[Attempt | None] = contextvars.ContextVar("ekiben_attempt", default=None)
"""The attempt of this thread or coroutine."""
