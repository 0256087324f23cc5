"""Bytes on their way: what an input becomes in a request, and what a body becomes for the caller."""

from __future__ import annotations

import io
import json
import mimetypes
import os
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import Any, BinaryIO, Callable

CHUNK = 64 * 1024
"""How many bytes of a file are read at a time."""

JSON = "application/json"
BINARY = "application/octet-stream"


class Body:
    """The bytes of a request. `chunks` begins anew each time, where `repeatable`."""

    def __init__(
        self, content_type: str, chunks: Callable[[], Iterator[bytes]], length: int | None, repeatable: bool = True
    ) -> None:
        self.content_type = content_type
        self.chunks = chunks
        self.length = length
        """How many bytes, where that is known before."""
        self.repeatable = repeatable


def body_of(value: Any, content_type: str | None = None) -> Body:
    """The body for an input: bytes as they are, a path's or a file's content as it is read, anything else as JSON.

    A string with a content type that is not JSON's is that text.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _of_bytes(bytes(value), content_type or BINARY)
    if isinstance(value, os.PathLike):
        return _of_path(Path(value), content_type)
    if callable(getattr(value, "read", None)):
        return _of_file(value, content_type)
    if content_type is not None and not is_json(content_type):
        if isinstance(value, str):
            return _of_bytes(value.encode(), content_type)
        raise TypeError(f"an input of type {type(value).__name__} cannot be sent as {content_type}: give str or bytes")
    return _of_bytes(_json(value), content_type or JSON)


def json_body(value: Any) -> Body:
    """The body for a request that is JSON by itself."""
    return _of_bytes(_json(value), JSON)


def lines_body(lines: Any, content_type: str) -> Body:
    """The body for JSON lines: a path, a file, or the values of the lines, which are written as they are taken.

    Only what can be gone through again can be sent again: a list can, a generator cannot.
    """
    if isinstance(lines, (bytes, os.PathLike)) or callable(getattr(lines, "read", None)):
        return body_of(lines, content_type)
    if isinstance(lines, (str, Mapping)) or not isinstance(lines, Iterable):
        raise TypeError(f"lines are a pathlib.Path, a file, bytes or an iterable of dicts, not {type(lines).__name__}")
    repeatable = iter(lines) is not lines
    return Body(content_type, lambda: _written(lines), None, repeatable)


def decoded(data: bytes, content_type: str | None) -> Any:
    """What a body is for its content type: a value for JSON, a string for text, else the bytes."""
    if content_type is None:
        return data
    if is_json(content_type):
        return json.loads(data) if data else None
    kind, charset = _parsed(content_type)
    if kind.startswith("text/"):
        try:
            return data.decode(charset or "utf-8")
        except (LookupError, UnicodeDecodeError):
            return data
    return data


def is_json(content_type: str) -> bool:
    """Whether it is JSON's, or that of a format made of JSON."""
    kind, _ = _parsed(content_type)
    return kind == JSON or kind.endswith("+json")


def _parsed(content_type: str) -> tuple[str, str | None]:
    message = Message()
    message["content-type"] = content_type
    return message.get_content_type(), message.get_content_charset()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _of_bytes(data: bytes, content_type: str) -> Body:
    return Body(content_type, lambda: iter((data,)), len(data))


def _of_path(path: Path, content_type: str | None) -> Body:
    # A path that cannot be read says so here, before anything is sent.
    length = path.stat().st_size if path.is_file() else None
    with path.open("rb"):
        pass
    return Body(content_type or _guessed(path.name), lambda: _read_path(path), length)


def _of_file(file: BinaryIO, content_type: str | None) -> Body:
    if isinstance(file, io.TextIOBase):
        raise TypeError("a file that is an input is opened in binary mode: open(path, 'rb')")
    name = getattr(file, "name", None)
    content_type = content_type or (_guessed(name) if isinstance(name, str) else BINARY)
    if not _seekable(file):
        return Body(content_type, lambda: _read(file), None, repeatable=False)
    start = file.tell()
    length = file.seek(0, os.SEEK_END) - start
    file.seek(start)

    def again() -> Iterator[bytes]:
        file.seek(start)
        return _read(file)

    return Body(content_type, again, length)


def _seekable(file: BinaryIO) -> bool:
    seekable = getattr(file, "seekable", None)
    return callable(seekable) and bool(seekable())


def _guessed(name: str) -> str:
    return mimetypes.guess_type(name)[0] or BINARY


def _read_path(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from _read(file)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while True:
        data = file.read(CHUNK)
        if not data:
            return
        yield data


def _written(lines: Iterable[Any]) -> Iterator[bytes]:
    gathered = bytearray()
    for line in lines:
        gathered += _json(line) + b"\n"
        if len(gathered) >= CHUNK:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)
