"""Kinds of classes, files and arrays. What they need beyond the standard library is imported when an annotation names
it, never before: a worker without pydantic, numpy or PIL needs none of them.
"""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import io
import os
import pathlib
import tempfile
import typing
import uuid
from typing import Any, Callable

from .attempts import current
from .errors import Mismatch, mismatch
from .forms import Upload
from .kinds import Decode, Kind, any_kind, kind_of, marker, unwrap
from .schema import Schema, inline, titled


def rich_kind(base: Any, metadata: tuple[Any, ...]) -> Kind | None:
    """The kind of a class, or None for one that is not known here."""
    origin = typing.get_origin(base) or base
    if not isinstance(origin, type):
        return None
    if issubclass(origin, pathlib.PurePath):
        return _file(metadata)
    if _named(origin, "PIL.", "Image"):
        return Kind({"type": "file", "format": "image", "pil": True}, _open_image, carrier="file")
    if _named(origin, "numpy", "ndarray"):
        return _array(base, metadata)
    if origin in _TIMES:
        return _moment(origin)
    if issubclass(origin, dict) and hasattr(origin, "__required_keys__"):
        return _typed_dict(origin)
    if dataclasses.is_dataclass(origin):
        return _dataclass(origin)
    return None


def _named(origin: type, module: str, name: str) -> bool:
    return any(parent.__name__ == name and parent.__module__.startswith(module) for parent in origin.__mro__)


# pydantic


def is_pydantic(base: Any, metadata: tuple[Any, ...]) -> bool:
    """Whether it is pydantic's to say what the annotation means."""
    if hasattr(base, "__pydantic_validator__") or hasattr(base, "__get_pydantic_core_schema__"):
        return True
    return any(type(mark).__module__.startswith(("pydantic", "annotated_types")) for mark in metadata)


def pydantic_kind(annotation: Any) -> Kind:
    """A model, or a type with pydantic's own metadata around it."""
    from pydantic import BaseModel, TypeAdapter, ValidationError

    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def decode(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            raise Mismatch(first["msg"], *first["loc"]) from None

    base, metadata = unwrap(annotation)
    schema = inline(adapter.json_schema())
    plain = any_kind() if hasattr(base, "__pydantic_validator__") else kind_of(base)
    is_model = isinstance(base, type) and issubclass(base, BaseModel)
    return Kind(schema, decode, carrier=plain.carrier, many=plain.many, model=is_model)


# Files and images


def _file(metadata: tuple[Any, ...]) -> Kind:
    mark = marker(metadata, "ContentType")
    if mark is None:
        return Kind({"type": "file", "format": "binary"}, _store_file, carrier="file")
    schema = {"type": "file", "format": mark.content_type.split("/")[0], "content_type": mark.content_type}
    return Kind(schema, _store_file, carrier="file", media_type=mark.content_type)


def _store_file(value: Any) -> pathlib.Path:
    """Puts an upload into the attempt's folder, under its own name if it has one."""
    upload = _upload(value, "a file")
    name = os.path.basename((upload.filename or "").replace("\\", "/").replace("\0", "")) or "file"
    path = pathlib.Path(tempfile.mkdtemp(dir=current().folder), name[-200:] if name not in (".", "..") else "file")
    path.write_bytes(upload.data)
    return path


def _open_image(value: Any) -> Any:
    from PIL import Image

    upload = _upload(value, "an image")
    try:
        image = Image.open(io.BytesIO(upload.data))
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        # PIL has no one error for what is no image; whatever it is, it is about the input.
        raise Mismatch(f"expected an image: {error}") from None
    return image


def _upload(value: Any, expected: str) -> Upload:
    if isinstance(value, Upload):
        return value
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        raise Mismatch(f"expected {expected}, got a URL: Ekiben fetches nothing for a worker, send the file itself")
    raise mismatch(expected, value)


# numpy


def _array(base: Any, metadata: tuple[Any, ...]) -> Kind:
    import numpy

    dtype = _dtype(base, metadata)
    mark = marker(metadata, "Shape")
    shape = None if mark is None else tuple(mark.dimensions)

    def decode(value: Any) -> Any:
        try:
            array = numpy.array(value, dtype=dtype)
            if array.dtype.kind not in "biufc":
                raise Mismatch("expected an array of numbers")
            return array if shape is None else array.reshape(shape)
        except (TypeError, ValueError, OverflowError) as error:
            raise Mismatch(f"expected an array of numbers: {error}") from None

    schema: Schema = {"type": "tensor", "format": "numpy-array"}
    if dtype is not None:
        schema["dtype"] = dtype
    if shape is not None:
        schema["shape"] = list(shape)
        schema["dim"] = int(numpy.prod(shape, dtype=int))
    return Kind(schema, decode)


def _dtype(base: Any, metadata: tuple[Any, ...]) -> str | None:
    import numpy

    arguments = typing.get_args(base)
    given = typing.get_args(arguments[1])[0] if len(arguments) > 1 and typing.get_args(arguments[1]) else None
    try:
        named = None if given is None else numpy.dtype(given).name
    except TypeError:
        named = None  # NDArray[Any], or a type variable.
    mark = marker(metadata, "DType")
    return named if mark is None else str(mark.dtype)


# Moments and ids


_TIMES: dict[Any, tuple[str, str, Callable[[str], Any]]] = {
    datetime.datetime: ("date-time", "a date and time", datetime.datetime.fromisoformat),
    datetime.date: ("date", "a date", datetime.date.fromisoformat),
    datetime.time: ("time", "a time", datetime.time.fromisoformat),
    uuid.UUID: ("uuid", "a UUID", uuid.UUID),
}


def _moment(origin: Any) -> Kind:
    form, expected, parse = _TIMES[origin]

    def decode(value: Any) -> Any:
        try:
            if isinstance(value, str):
                # Python before 3.11 does not read the Z.
                return parse(value[:-1] + "+00:00" if value.endswith("Z") else value)
        except ValueError:
            pass
        raise mismatch(expected, value)

    return Kind({"type": "string", "format": form}, decode, carrier="text")


# Dataclasses and typed dictionaries


def _dataclass(origin: Any) -> Kind:
    kind = Kind({}, _not_yet)
    with _building(origin, kind) as known:
        if known is not None:
            return known
        hints = typing.get_type_hints(origin, include_extras=True)
        members = {member.name: kind_of(hints[member.name]) for member in dataclasses.fields(origin) if member.init}
        schema = _object_schema(origin, members)
        for member in dataclasses.fields(origin):
            if member.default is not dataclasses.MISSING:
                schema["properties"][member.name]["default"] = member.default
        required = [
            member.name
            for member in dataclasses.fields(origin)
            if member.init and member.default is dataclasses.MISSING and member.default_factory is dataclasses.MISSING
        ]
        return _finish(kind, schema, required, members, lambda values: origin(**values))


def _typed_dict(origin: Any) -> Kind:
    kind = Kind({}, _not_yet)
    with _building(origin, kind) as known:
        if known is not None:
            return known
        hints = typing.get_type_hints(origin, include_extras=True)
        members = {name: kind_of(_without_qualifier(hint)) for name, hint in hints.items()}
        required = [name for name, hint in hints.items() if _is_required(origin, name, hint)]
        return _finish(kind, _object_schema(origin, members), required, members, lambda values: values)


class _building:
    """Finds a class inside itself: there it has an open schema, as a schema without references cannot say more."""

    now: typing.ClassVar[dict[Any, Kind]] = {}

    def __init__(self, origin: Any, kind: Kind) -> None:
        self.origin = origin
        self.kind = kind
        self.known = self.now.get(origin)

    def __enter__(self) -> Kind | None:
        if self.known is None:
            self.now[self.origin] = self.kind
            return None
        known = self.known
        return Kind({}, lambda value: known.decode(value))

    def __exit__(self, *_: object) -> None:
        if self.known is None:
            del self.now[self.origin]


def _not_yet(value: Any) -> Any:
    raise AssertionError("a kind was used while it was being made")


def _is_required(origin: Any, name: str, hint: Any) -> bool:
    """Whether a key must be there. The class itself does not know where its annotations were strings."""
    qualifier = _qualifier(hint)
    return name in origin.__required_keys__ if qualifier == "" else qualifier == "Required"


def _without_qualifier(hint: Any) -> Any:
    return typing.get_args(hint)[0] if _qualifier(hint) else hint


def _qualifier(hint: Any) -> str:
    name = str(typing.get_origin(hint)).rsplit(".", 1)[-1]
    return name if name in ("Required", "NotRequired") else ""


def _object_schema(origin: Any, members: dict[str, Kind]) -> Schema:
    schema: Schema = {"type": "object", "title": origin.__name__}
    document = origin.__doc__
    if document and not document.startswith(f"{origin.__name__}(") and document != dict.__doc__:
        schema["description"] = inspect.cleandoc(document)
    schema["properties"] = {name: titled(kind.schema, name) for name, kind in members.items()}
    return schema


def _finish(kind: Kind, schema: Schema, required: list[str], members: dict[str, Kind], build: Decode) -> Kind:
    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise mismatch("an object", value)
        for name in required:
            if name not in value:
                raise Mismatch("is missing", name)
        decoded: dict[str, Any] = {}
        for name, member in members.items():
            if name in value:
                try:
                    decoded[name] = member.decode(value[name])
                except Mismatch as wrong:
                    raise wrong.under(name) from None
        return build(decoded)

    if required:
        schema["required"] = required
    kind.schema, kind.decode = schema, decode
    return kind
