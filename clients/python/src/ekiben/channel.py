"""The channel to Ekiben: frames over a Unix stream socket, as clients/PROTOCOL.md has them.

Knows what a frame is and nothing of what it says.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any, Callable, Union

Bytes = Union[bytes, bytearray, memoryview]
"""What a body may be."""

BODY_MAX = 0xFFFF_FFFF
HEADER_MAX = 1_048_576

_BUFFER = 65_536
_LENGTHS = struct.Struct("<II")
_SPARE = 1_048_576


class Frame:
    """A header and a body. The body is None where there was no memory for it: it was read, and dropped."""

    __slots__ = ("body", "header")

    def __init__(self, header: dict[str, Any], body: Bytes | None) -> None:
        self.header = header
        self.body = body


class Channel:
    """One end of the socket. One thread receives; any thread sends."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._view = memoryview(bytearray(_BUFFER))
        self._start = 0
        self._end = 0
        self._decode = json.JSONDecoder().decode

    def receive(self) -> Frame | None:
        """The next frame, or None when there will be no more."""
        try:
            header_length, body_length = _LENGTHS.unpack(self._read(_LENGTHS.size))
            header = self._decode(str(self._read(header_length), "utf-8"))
            return Frame(header, self._read_body(body_length) if body_length else b"")
        except (EOFError, ConnectionError):
            return None

    def send(self, header: str, body: Bytes = b"", unless: Callable[[], bool] | None = None) -> None:
        """Writes one whole frame; nothing else gets between its bytes. To an Ekiben that has gone it writes nothing.

        `unless` is asked when it is this frame's turn.
        """
        head = header.encode()
        if len(head) > HEADER_MAX:
            raise ValueError(f"a header of {len(head)} bytes is over the protocol's limit of {HEADER_MAX}")
        lengths = _LENGTHS.pack(len(head), len(body))
        parts: list[Bytes] = [lengths + head, body] if body else [lengths + head]
        with self._sending:
            if unless is not None and unless():
                return
            try:
                self._send_all(parts)
            except ConnectionError:
                pass  # The end of the stream reaches the reader as well, which ends the worker.

    def _send_all(self, parts: list[Bytes]) -> None:
        sent = self._socket.sendmsg(parts)
        for part in parts:
            if sent >= len(part):
                sent -= len(part)
            else:
                self._socket.sendall(memoryview(part)[sent:])
                sent = 0

    def _read(self, length: int) -> Bytes:
        start, end = self._start, self._start + length
        if end > self._end:
            if length > _BUFFER:
                return self._read_into(bytearray(length))
            self._fill(length)
            start, end = 0, length
        self._start = end
        return self._view[start:end].tobytes()

    def _read_body(self, length: int) -> Bytes | None:
        try:
            return self._read(length)
        except MemoryError:
            self._skip(length)
            return None

    def _fill(self, length: int) -> None:
        """Moves what is there to the front of the buffer, and reads until `length` bytes are there."""
        have = self._end - self._start
        self._view[:have] = self._view[self._start : self._end].tobytes()
        self._start, self._end = 0, have
        while self._end < length:
            self._end += self._receive(self._view[self._end :])

    def _read_into(self, target: bytearray) -> bytearray:
        have = self._end - self._start
        view = memoryview(target)
        view[:have] = self._view[self._start : self._end]
        self._start = self._end = 0
        while have < len(target):
            have += self._receive(view[have:])
        return target

    def _skip(self, length: int) -> None:
        length -= self._end - self._start
        self._start = self._end = 0
        spare = memoryview(bytearray(_SPARE))
        while length > 0:
            length -= self._receive(spare[:length])

    def _receive(self, target: memoryview) -> int:
        count = self._socket.recv_into(target)
        if count == 0:
            raise EOFError
        return count
