"""What comes in pieces: lines, and server-sent events. Nothing here reads; pieces are fed as they arrive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .results import Event

LINE_MAX = 64 * 1024 * 1024
"""How many bytes a line may have before the stream is taken for broken."""


class Lines:
    """Takes a stream apart into lines, whatever they end with: LF, CRLF or CR."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that are whole with this piece."""
        searched = max(len(self._rest) - 1, 0)
        self._rest += data
        while True:
            end, after = self._end(searched)
            if end < 0:
                break
            line = bytes(self._rest[:end])
            del self._rest[:after]
            searched = 0
            yield line.decode(errors="replace")
        if len(self._rest) > LINE_MAX:
            raise ValueError(f"a line of the stream is longer than {LINE_MAX} bytes")

    def end(self) -> Iterator[str]:
        """The last line, where nothing ended it."""
        if self._rest:
            yield bytes(self._rest).rstrip(b"\r").decode(errors="replace")
            self._rest.clear()

    def _end(self, start: int) -> tuple[int, int]:
        """Where the first line ends, and where the next begins; -1 if it is not whole."""
        feed = self._rest.find(b"\n", start)
        carriage = self._rest.find(b"\r", start, feed if feed >= 0 else len(self._rest))
        if carriage >= 0:
            # At the very end it may be the first half of a CRLF.
            if carriage == len(self._rest) - 1:
                return -1, -1
            return carriage, carriage + (2 if self._rest[carriage + 1] == 0x0A else 1)
        return (feed, feed + 1) if feed >= 0 else (-1, -1)


class Events:
    """Takes a stream of server-sent events apart."""

    def __init__(self) -> None:
        self.retry: float | None = None
        """How many seconds to wait before connecting again, where the server says so."""
        self._lines = Lines()
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are whole with this piece. What a dropped connection cut off is none."""
        for line in self._lines.feed(data):
            if not line:
                if self._data or self._type:
                    yield Event(self._id, self._type or "message", _json_or_text("\n".join(self._data)))
                self._type, self._data = "", []
            elif not line.startswith(":"):
                self._field(*_split(line))

    def _field(self, name: str, value: str) -> None:
        if name == "id" and "\0" not in value:
            self._id = value
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value) / 1000


def _split(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    # One space, if any: what follows is the value, more spaces included.
    return name, value[1:] if value[:1] == " " else value


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
