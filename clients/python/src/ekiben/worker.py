"""The worker: says hello, hands what Ekiben says to a runner, and ends when it is told to."""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import sys
import threading
import traceback
from types import FrameType
from typing import NoReturn, TextIO

from .attempts import Attempt
from .channel import Channel, Frame
from .runners import LoopRunner, MainRunner, PoolRunner, Reply, Runner, failed
from .tasks import Task, registered, setups

PROTOCOL = 1
DESCRIPTOR = 3
CLIENT = "ekiben-python/0.1.0"

_NOT_STARTED_BY_EKIBEN = """\
This is a worker of Ekiben: Ekiben starts it. Give it an endpoint in Ekiben's config:

    [endpoints.{name}]
    type = "process"
    command = {command}
"""

serves_elsewhere = False
"""Set while `ekiben worker` imports a program: a `serve()` in there then leaves the serving to it."""


def serve(*, threads: int | None = None) -> None:
    """Serves all tasks of the program until Ekiben says that there will be no more. Then the program goes on.

    `threads` is how many attempts run at a time; by default what the endpoint's settings say. Ends the program with exit code 2 where it was not started by
    Ekiben. Best called under `if __name__ == "__main__":`, so that the program can be imported as well.
    """
    if not serves_elsewhere:
        serve_tasks(registered, threads)


def serve_tasks(tasks: list[Task], threads: int | None) -> None:
    """Serves these tasks."""
    if threads is None:
        threads = int(os.environ.get("EKIBEN_THREADS", "1"))
    if os.environ.get("EKIBEN_PROTOCOL") != str(PROTOCOL):
        _explain(tasks)
    if not tasks:
        _refuse("this program declares no task: put @ekiben.task before a function")
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        _refuse(f"two tasks have the same name, among {', '.join(names)}")
    if threads < 1:
        _refuse(f"threads is {threads}, and must be at least 1")
    for task in tasks:
        task.prepare()
    Worker(tasks, threads).run()


class Worker:
    """One worker process."""

    def __init__(self, tasks: list[Task], threads: int) -> None:
        # Ctrl-C in a terminal reaches every process there. It is for Ekiben, which then tells us.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.set_inheritable(DESCRIPTOR, False)
        _by_line(sys.stdout)
        _by_line(sys.stderr)
        self._tasks = {task.name: task for task in tasks}
        self._concurrency = threads
        self._channel = Channel(socket.socket(fileno=DESCRIPTOR))
        self._live: dict[int, Attempt] = {}
        self._runner = self._choose_runner(tasks)

    def run(self) -> None:
        """From the setup to the end."""
        self._runner.prepare(setups)
        signal.signal(signal.SIGTERM, self._terminate)
        self._hear_signals()
        self._channel.send(self._hello())
        threading.Thread(target=self._read, name="ekiben-reader", daemon=True).start()
        self._runner.run()

    def _choose_runner(self, tasks: list[Task]) -> Runner:
        if any(task.is_async for task in tasks) or any(inspect.iscoroutinefunction(setup) for setup in setups):
            return LoopRunner(self._send, self._concurrency)
        if self._concurrency > 1:
            return PoolRunner(self._send, self._concurrency)
        return MainRunner(self._send)

    def _hello(self) -> str:
        return json.dumps(
            {
                "type": "hello",
                "protocol": PROTOCOL,
                "client": CLIENT,
                "concurrency": self._concurrency,
                "tasks": [task.describe() for task in self._tasks.values()],
            }
        )

    def _read(self) -> None:
        """The reader thread: what Ekiben says, until it says no more."""
        try:
            while (frame := self._channel.receive()) is not None:
                header = frame.header
                said = header.get("type")
                if said == "run":
                    self._start(frame)
                elif said == "cancel":
                    self._cancel(header["id"])
                elif said == "exit":
                    self._runner.finish()
        except BaseException:
            # Nothing could reach this worker any more. Its end does, and Ekiben starts another.
            traceback.print_exc()
            os._exit(70)
        self._runner.finish()

    def _start(self, frame: Frame) -> None:
        header = frame.header
        task = self._tasks.get(header["task"])
        if task is None:
            self._channel.send(*failed(header["id"], "failed", f"this worker has no task {header['task']}"))
            return
        attempt = Attempt(header, frame.body, task, self._channel)
        self._live[attempt.id] = attempt
        self._runner.submit(attempt)

    def _cancel(self, attempt_id: int) -> None:
        attempt = self._live.get(attempt_id)
        if attempt is not None:
            attempt.tell()

    def _send(self, attempt: Attempt, reply: Reply) -> None:
        """Sends how an attempt ended, after all that it printed."""
        attempt.ended = True
        self._live.pop(attempt.id, None)
        _flush(sys.stdout)
        header, body = reply
        try:
            self._channel.send(header, body)
        except ValueError as error:
            self._channel.send(*failed(attempt.id, "failed", str(error)))
        attempt.close()

    def _terminate(self, _signal: int, _frame: FrameType | None) -> None:
        self._runner.finish()

    def _hear_signals(self) -> None:
        """Has a thread learn of signals as well.

        The handler runs in the main thread, once that is back from C: a signal that comes just before it waits there
        for a lock would be heard when the wait is over, which may be never.
        """
        bell, wire = socket.socketpair()
        wire.setblocking(False)
        signal.set_wakeup_fd(wire.detach(), warn_on_full_buffer=False)
        threading.Thread(target=self._await_sigterm, args=[bell], name="ekiben-signals", daemon=True).start()

    def _await_sigterm(self, bell: socket.socket) -> None:
        while numbers := bell.recv(64):
            if signal.SIGTERM in numbers:
                self._runner.finish()


def _explain(tasks: list[Task]) -> NoReturn:
    given = os.environ.get("EKIBEN_PROTOCOL")
    if given is not None:
        _refuse(f"Ekiben speaks version {given} of the worker protocol, this package version {PROTOCOL}")
    command = json.dumps(["python3", *sys.argv])
    name = tasks[0].name if tasks else "caption"
    sys.stderr.write(_NOT_STARTED_BY_EKIBEN.format(name=name, command=command))
    sys.exit(2)


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"ekiben: {reason}\n")
    sys.exit(2)


def _by_line(stream: TextIO | None) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def _flush(stream: TextIO | None) -> None:
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        pass  # A task closed it. What it printed is its own loss.
