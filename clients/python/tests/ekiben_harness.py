"""Ekiben, as far as a worker can tell: starts one over a real socket pair and speaks the protocol with it."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 20.0
"""Seconds until a worker that says nothing fails the test."""

SOURCE = Path(__file__).resolve().parents[1] / "src"


class Said(NamedTuple):
    """A frame from the worker."""

    header: dict[str, Any]
    body: bytes

    @property
    def type(self) -> str:
        return str(self.header["type"])

    @property
    def content_type(self) -> str:
        headers: dict[str, str] = dict(self.header.get("headers", []))
        return headers.get("content-type", "application/json")


class Worker:
    """A worker process, and this end of its channel."""

    def __init__(self, *command: str, cwd: str | None = None) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        self._stream = ours
        self._log = tempfile.TemporaryFile()
        self._id = 0
        self.process = _start(list(command), theirs, self._log, cwd)
        self.hello: dict[str, Any] = {}

    @classmethod
    def of(cls, source: str, *arguments: str) -> Worker:
        """A worker of a program given as text, once it said hello."""
        folder = tempfile.mkdtemp(prefix="ekiben-test-")
        path = Path(folder, "program.py")
        path.write_text(
            "import ekiben\n" + textwrap.dedent(source) + '\nif __name__ == "__main__":\n    ekiben.serve()\n'
        )
        command = [str(path)] if not arguments else ["-m", "ekiben", "worker", str(path), *arguments]
        return cls(sys.executable, *command, cwd=folder).ready()

    def ready(self) -> Worker:
        """Waits for the hello."""
        said = self.hear()
        assert said.type == "hello", said
        self.hello = said.header
        return self

    def say(self, header: dict[str, Any], body: bytes = b"") -> None:
        head = json.dumps(header).encode()
        self._stream.sendall(struct.pack("<II", len(head), len(body)) + head + body)

    def hear(self) -> Said:
        """The next frame."""
        said = self._hear()
        assert said is not None, f"the worker ended the stream; its log says: {self.log()}"
        return said

    def hears_the_end(self) -> bool:
        """Whether the stream ends here."""
        return self._hear() is None

    def run(self, task: str, body: bytes = b"", content_type: str | None = "application/json", **more: Any) -> int:
        """Starts an attempt; gives its id."""
        self._id += 1
        headers = [] if content_type is None else [["content-type", content_type]]
        run = {"type": "run", "id": self._id, "task": task, "task_id": "0" * 32, "endpoint": task, "attempt": 1}
        self.say({**run, "timeout_ms": 60000, "headers": headers, **more}, body)
        return self._id

    def ask(self, task: str, body: bytes = b"", content_type: str | None = "application/json") -> Said:
        """Runs an attempt and gives how it ended; it may say nothing before."""
        attempt = self.run(task, body, content_type)
        said = self.hear()
        assert said.header["id"] == attempt, (said, self.log())
        return said

    def call(self, task: str, **arguments: Any) -> Any:
        """The result of a task that takes and gives JSON, or gives text."""
        said = self.ask(task, json.dumps(arguments).encode())
        assert said.type == "done", (said, self.log())
        return said.body.decode() if said.content_type.startswith("text/") else json.loads(said.body)

    def round_trips(self, task: str, count: int) -> list[float]:
        """How many seconds each of so many empty attempts took, from one system call to the other."""
        frames = []
        for attempt in range(self._id + 1, self._id + count + 1):
            run = {"type": "run", "id": attempt, "task": task, "task_id": "0" * 32, "endpoint": task, "attempt": 1}
            head = json.dumps({**run, "timeout_ms": 60000, "headers": [["content-type", "application/json"]]}).encode()
            frames.append(struct.pack("<II", len(head), 2) + head + b"{}")
        self._id += count
        self._stream.settimeout(None)
        took = [self._round_trip(frame) for frame in frames]
        self._stream.settimeout(PATIENCE)
        return took

    def _round_trip(self, frame: bytes) -> float:
        begun = time.perf_counter()
        self._stream.send(frame)
        reply = self._stream.recv(4096)
        took = time.perf_counter() - begun
        assert b'"done"' in reply, reply
        return took

    def cancel(self, attempt: int) -> None:
        self.say({"type": "cancel", "id": attempt})

    def hang_up(self) -> None:
        """Ends our side of the stream."""
        self._stream.shutdown(socket.SHUT_WR)

    def tell_to_exit(self) -> None:
        self.say({"type": "exit"})

    def terminate(self) -> None:
        self.process.terminate()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def log(self) -> str:
        """All that the worker wrote to standard output and standard error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._stream.close()
        self._log.close()

    def _hear(self) -> Said | None:
        lengths = self._read(8)
        if lengths is None:
            return None
        header, body = struct.unpack("<II", lengths)
        return Said(json.loads(self._read(header) or b""), self._read(body) or b"")

    def _read(self, length: int) -> bytes | None:
        data = bytearray()
        while len(data) < length:
            chunk = self._stream.recv(length - len(data))
            if not chunk:
                return None
            data += chunk
        return bytes(data)


def _start(command: list[str], theirs: socket.socket, log: Any, cwd: str | None) -> subprocess.Popen[bytes]:
    """As Ekiben starts it: in a process group of its own, with the socket as descriptor 3."""
    environment = {**os.environ, "EKIBEN_PROTOCOL": "1", "PYTHONPATH": str(SOURCE)}
    moved = [sys.executable, "-ISc", _MOVE_AND_RUN, str(theirs.fileno()), *command]
    process = subprocess.Popen(
        moved,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[theirs.fileno()],
        env=environment,
        cwd=cwd,
        start_new_session=True,
    )
    theirs.close()
    return process


_MOVE_AND_RUN = """
import os, sys
descriptor = int(sys.argv[1])
os.dup2(descriptor, 3)
if descriptor != 3:
    os.close(descriptor)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Moves the socket to descriptor 3, whichever number it has here, and becomes the worker."""


def multipart(*parts: tuple[str, Any]) -> tuple[bytes, str]:
    """A form as the BentoML client sends it: a name with a JSON value, or with (file name, content type, bytes)."""
    boundary = "d5150b1d67d11f306bf30d3e9f6e8130"
    body = b""
    for name, value in parts:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, tuple):
            filename, content_type, data = value
            head += f'; filename="{filename}"\r\nContent-Type: {content_type}'
        else:
            data = json.dumps(value).encode()
        body += head.encode() + b"\r\n\r\n" + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
