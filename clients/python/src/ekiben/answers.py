"""The way out: a return annotation as a JSON schema, and what a task returned as headers and a body.

The bytes are those of BentoML's server. It is not followed where its own client cannot read its answer: a string that
no annotation announced is JSON here, and a date is not in quotes.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import io
import json
import mimetypes
import pathlib
import sys
import typing
import uuid
from typing import Any, Callable, NamedTuple
from urllib.parse import quote

from .channel import BODY_MAX, Bytes
from .kinds import Kind, any_kind, array_of, kind_of, marker, unwrap
from .schema import Schema, settle

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"

_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
)


class Answer(NamedTuple):
    """A result as it travels."""

    body: Bytes
    content_type: str
    disposition: str | None = None


class TooLarge(Exception):
    """A result that no frame can carry."""


class Output:
    """What a task gives. `schema` is in the form BentoML gives."""

    def __init__(self, annotation: Any) -> None:
        self._kind = _kind_of_result(annotation)
        self.schema: Schema = settle(self._kind.schema)
        mark = marker(unwrap(annotation)[1], "ContentType")
        self._media_type: str | None = None if mark is None else mark.content_type
        if self._media_type is not None:
            self.schema["media_type"] = self._media_type

    def answer(self, value: Any) -> Answer:
        """A result, as BentoML would answer it."""
        answer = self._answer(value)
        if len(answer.body) > BODY_MAX:
            raise TooLarge(f"the result has {len(answer.body)} bytes, over the protocol's limit of {BODY_MAX}")
        return answer

    def _answer(self, value: Any) -> Answer:
        if isinstance(value, pathlib.PurePath):
            return self._file(pathlib.Path(value))
        if _is_image(value):
            return _image(value)
        if self._kind.carrier == "file":
            raise TypeError(f"returned {type(value).__name__}, expected a path or an image")
        if self._kind.carrier in ("text", "bytes"):
            return Answer(_raw(plain_text(value)), _with_charset(self._media_type or TEXT))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return Answer(_raw(value), self._media_type or BINARY)
        if self._kind.model and hasattr(value, "model_dump_json"):
            return Answer(value.model_dump_json().encode(), self._media_type or JSON)
        return Answer(_JSON.encode(value).encode(), self._media_type or JSON)

    def _file(self, path: pathlib.Path) -> Answer:
        content_type = mimetypes.guess_type(path.name)[0] or self._media_type or self._kind.media_type or BINARY
        way = "inline" if content_type.startswith("image") else "attachment"
        quoted = quote(path.name)
        name = f'filename="{path.name}"' if quoted == path.name else f"filename*=utf-8''{quoted}"
        return Answer(path.read_bytes(), _with_charset(content_type), f"{way}; {name}")


def collect(items: list[Any]) -> Any:
    """What a generator gave, as one result: joined if it is all text or all bytes, else a list."""
    if items and all(isinstance(item, str) for item in items):
        return "".join(items)
    if items and all(isinstance(item, (bytes, bytearray, memoryview)) for item in items):
        return b"".join(items)
    return items


def plain(value: Any) -> Any:
    """What JSON cannot say, as something that it can. Raises TypeError."""
    for matches, convert in _PLAIN:
        if matches(value):
            return convert(value)
    raise TypeError(f"a result of type {type(value).__name__} has no form in JSON")


def plain_text(value: Any) -> Any:
    """A text or bytes result: what has a text of its own, such as a date, as that text."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value
    plainly = isinstance(value, enum.Enum) or not isinstance(value, (str, int, float, list, dict, type(None)))
    text = plain(value) if plainly else value
    if isinstance(text, str):
        return text
    raise TypeError(f"returned {type(value).__name__}, expected a string")


def _kind_of_result(annotation: Any) -> Kind:
    """The kind of the whole result, also where a generator gives it in items."""
    base, _ = unwrap(annotation)
    if typing.get_origin(base) not in _STREAMS:
        return _lenient(annotation)
    item = _lenient(typing.get_args(base)[0])
    return item if item.carrier in ("text", "bytes") else array_of(item)


def _lenient(annotation: Any) -> Kind:
    """The kind of an output. What has no form as an input may well have one as JSON, so it is left open."""
    try:
        return kind_of(annotation)
    except TypeError:
        return any_kind()


def _is_image(value: Any) -> bool:
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _image(image: Any) -> Answer:
    buffer = io.BytesIO()
    form = image.format or "PNG"
    image.save(buffer, format=form)
    return Answer(buffer.getvalue(), f"image/{form.lower()}")


def _raw(value: Any) -> Bytes:
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else bytes(value)


def _with_charset(content_type: str) -> str:
    text = content_type.startswith("text/") and "charset=" not in content_type
    return f"{content_type}; charset=utf-8" if text else content_type


def _moment(value: Any) -> str:
    text: str = value.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def _array(value: Any) -> Any:
    """Nested lists; null for what is no number, which JSON has no word for."""
    if value.dtype.kind != "f":
        return value.tolist()
    import numpy

    finite = numpy.isfinite(value)
    array = value.astype(object)
    array[~finite] = None
    return array.tolist()


_PLAIN: list[tuple[Callable[[Any], bool], Callable[[Any], Any]]] = [
    (lambda value: hasattr(value, "model_dump"), lambda value: value.model_dump(mode="json")),
    (
        lambda value: dataclasses.is_dataclass(value) and not isinstance(value, type),
        lambda value: {member.name: getattr(value, member.name) for member in dataclasses.fields(value)},
    ),
    (lambda value: isinstance(value, enum.Enum), lambda value: value.value),
    (lambda value: hasattr(value, "dtype") and hasattr(value, "shape") and value.shape != (), _array),
    (lambda value: hasattr(value, "dtype") and hasattr(value, "item"), lambda value: value.item()),
    (lambda value: isinstance(value, (bytes, bytearray, memoryview)), lambda value: bytes(value).decode()),
    (lambda value: isinstance(value, (datetime.datetime, datetime.date, datetime.time)), _moment),
    (lambda value: isinstance(value, (uuid.UUID, pathlib.PurePath)), str),
    (lambda value: isinstance(value, collections.abc.Mapping), dict),
    (lambda value: isinstance(value, (collections.abc.Set, collections.abc.Sequence)), list),
]

_JSON = json.JSONEncoder(default=plain)
