"""A real Ekiben on a free port of the loopback, in a folder of its own, with a worker that does as it is told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, TypeVar

from ekiben_harness import SOURCE

T = TypeVar("T")

NO_TASK = "0" * 32
"""An id that no task has, and no batch."""

PATIENCE = 60.0
"""Seconds until a state that does not come fails the test."""

CONFIG = """
[http]
shutdown_grace = "1s"

[store]
lease = "3s"

[results]
sweep_interval = "1s"

[endpoints.echo]
type = "noop"
concurrency = 4

[endpoints.paced]
type = "noop"

[endpoints.detect_language]
type = "demo"
demo = "detect_language"

[endpoints.work]
type = "process"
command = ["{python}", "worker.py"]
workers = {{ min = 1, max = 2 }}

[endpoints.full]
type = "process"
command = ["{python}", "worker.py"]
task = "work"
workers = {{ min = 0, max = 1 }}
queue = 1
"""

WORKER = '''
import os, time
import ekiben

@ekiben.task
def work(say: list[str] = [], marker: str = "", gate: str = "", fail: str = "", give: object = None) -> object:
    """Says so many lines, touches the marker, waits for the gate, then fails or gives."""
    for number, line in enumerate(say, 1):
        ekiben.log(line, level="warning" if line.startswith("!") else "info")
        ekiben.progress(number / len(say))
    if marker:
        open(marker, "a").close()
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    if fail == "input":
        raise ekiben.BadInput("not to be worked on")
    if fail:
        raise RuntimeError(fail)
    return give

if __name__ == "__main__":
    ekiben.serve()
'''


def binary() -> str:
    """The program under test."""
    path = os.environ.get("EKIBEN_BINARY")
    if not path:
        raise RuntimeError(
            "the tests of the client need an Ekiben: build one with `cargo build` in the repository, and set "
            "EKIBEN_BINARY to its path, target/debug/ekiben. They are not skipped without it."
        )
    return os.path.abspath(path)


class Server:
    """A server that runs until it is told otherwise; its data outlives it."""

    def __init__(self) -> None:
        self._program = binary()
        self._home = tempfile.TemporaryDirectory(prefix="ekiben-client-test-")
        self.folder = Path(self._home.name)
        (self.folder / "ekiben.toml").write_text(CONFIG.format(python=sys.executable))
        (self.folder / "worker.py").write_text(WORKER)
        self._starts = 0
        self._gates: set[Path] = set()
        self.address = "127.0.0.1:0"
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def start(self) -> None:
        """Starts it, on the address it had before, and waits until it is ready."""
        self._starts += 1
        self._log = self.folder / f"ekiben-{self._starts}.log"
        environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(SOURCE), "RUST_BACKTRACE": "1"}
        command = [self._program, "serve", "--config", "ekiben.toml", "--listen", self.address]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.address = until("the address it listens on", self._told_address)
        until("its readiness", self._is_ready)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def close(self) -> None:
        self.open_gates()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._home.cleanup()

    def path(self, name: str) -> Path:
        """A path of the test's own."""
        return self.folder / name

    def blocked(self, client: Any, name: str, endpoint: str = "work", **more: Any) -> Any:
        """A task of the worker that has started, and ends when the gate of that name is opened."""
        marker, gate = self.path(f"{name}.started"), self.path(f"{name}.gate")
        marker.unlink(missing_ok=True)
        gate.unlink(missing_ok=True)
        self._gates.add(gate)
        task = client.submit(endpoint, {"marker": str(marker), "gate": str(gate), **more})
        until("the start of the task", marker.exists)
        return task

    def open_gate(self, name: str) -> None:
        self.path(f"{name}.gate").touch()

    def open_gates(self) -> None:
        """Lets everything end that a test left blocked."""
        while self._gates:
            self._gates.pop().touch()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _told_address(self) -> str | None:
        assert self.process.poll() is None, f"the server ended at its start; its log says: {self.log()}"
        found = re.search(r"address\W+(?:\x1b\[\d*m)*(127\.0\.0\.1:\d+)", self.log())
        return found and found[1]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class Wire:
    """A wire between a client and the server that can be cut: a plain TCP proxy.

    It loses the next `lose` answers: the server has them on their way, and the client hears the connection end. With
    `cut_after`, the connection that has passed so many bytes of answers ends, once.
    """

    def __init__(self, port: int) -> None:
        self.lose = 0
        self.cut_after: int | None = None
        self.cuts = 0
        self._target = ("127.0.0.1", port)
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends all connections there are."""
        self.cuts += 1
        ends, self._ends = self._ends, []
        for end in ends:
            _shut(end)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self._ends += [near, far]
            threading.Thread(target=self._pass_requests, args=(near, far), daemon=True).start()
            threading.Thread(target=self._pass_answers, args=(far, near), daemon=True).start()

    def _pass_requests(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(65536):
                far.sendall(data)
        except OSError:
            pass
        _shut(far)

    def _pass_answers(self, far: socket.socket, near: socket.socket) -> None:
        passed = 0
        try:
            while data := far.recv(65536):
                if self.lose > 0:
                    self.lose -= 1
                    self.cuts += 1
                    break
                near.sendall(data)
                passed += len(data)
                if self.cut_after is not None and passed >= self.cut_after:
                    self.cut_after = None
                    self.cuts += 1
                    break
        except OSError:
            pass
        _shut(near)
        _shut(far)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def until(what: str, state: Callable[[], T | None]) -> T:
    """Waits for a state, and gives what tells of it."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        found: Any = state()
        if found:
            return found  # type: ignore[no-any-return]
        time.sleep(0.02)
    raise AssertionError(f"{what} has not come in {PATIENCE} s")
