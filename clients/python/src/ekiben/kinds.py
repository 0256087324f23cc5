"""Kinds: what an annotation means on the wire. Its JSON schema in the form BentoML gives, and how a value that came
as JSON (or as a file) becomes the argument.

Scalars and containers are here; classes, files and arrays in rich.py. The lenience is pydantic's, as BentoML's is:
"5" is an integer where one is expected, 5.5 is not.
"""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from dataclasses import dataclass
from typing import Any, Callable, Union

from .errors import Mismatch, mismatch
from .schema import Schema

Decode = Callable[[Any], Any]


class ContentType:
    """`Annotated[bytes, ekiben.ContentType("audio/mpeg")]`: the content type of a result, or of a file."""

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type


class Shape:
    """`Annotated[numpy.ndarray, ekiben.Shape((2, 3))]`: arrays are brought into this shape."""

    def __init__(self, dimensions: tuple[int, ...]) -> None:
        self.dimensions = dimensions


class DType:
    """`Annotated[numpy.ndarray, ekiben.DType("float32")]`: the type of an array's elements."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


@dataclass
class Kind:
    """What an annotation means."""

    schema: Schema
    decode: Decode
    carrier: str = "json"
    """How it travels when it is alone: json, text, bytes or file."""
    many: bool = False
    """Whether it is a list of files."""
    media_type: str | None = None
    model: bool = False
    """Whether results are pydantic models, which write their own JSON."""


def kind_of(annotation: Any) -> Kind:
    """The kind of an annotation. Raises TypeError for one that means nothing on the wire."""
    from . import rich

    if annotation in _SCALARS:
        return _SCALARS[annotation]()
    base, metadata = unwrap(annotation)
    if rich.is_pydantic(base, metadata):
        return rich.pydantic_kind(annotation)
    if metadata and base in _SCALARS:
        return _with_content_type(_SCALARS[base](), metadata)
    for kind in (_container(base), _enumeration(base), rich.rich_kind(base, metadata)):
        if kind is not None:
            return kind
    raise TypeError(f"{_describe(annotation)} is an annotation that Ekiben has no form for")


def unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type in an Annotated, and the metadata around it."""
    metadata = getattr(annotation, "__metadata__", None)
    return (annotation, ()) if metadata is None else (annotation.__origin__, metadata)


def marker(metadata: tuple[Any, ...], name: str) -> Any:
    """The metadata of that class name: ours, or BentoML's own of the same name."""
    return next((mark for mark in metadata if type(mark).__name__ == name), None)


def _with_content_type(kind: Kind, metadata: tuple[Any, ...]) -> Kind:
    mark = marker(metadata, "ContentType")
    if mark is not None:
        kind.media_type = mark.content_type
    return kind


def _describe(annotation: Any) -> str:
    if isinstance(annotation, types.ModuleType):
        return f"the module {annotation.__name__} (write {annotation.__name__}.{annotation.__name__.split('.')[-1]})"
    return getattr(annotation, "__qualname__", None) or str(annotation)


# Scalars.


def any_kind() -> Kind:
    """Anything that JSON can say."""
    return Kind({}, lambda value: value)


def _null(value: Any) -> None:
    if value is not None:
        raise mismatch("null", value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = value.lower() if isinstance(value, str) else value
    if text in (1, "1", "true", "t", "yes", "y", "on"):
        return True
    if text in (0, "0", "false", "f", "no", "n", "off"):
        return False
    raise mismatch("a boolean", value)


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    try:
        if isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
            return int(value)
    except ValueError:
        pass
    if isinstance(value, float):
        raise Mismatch("expected an integer, got a number with a fractional part")
    raise mismatch("an integer", value)


def _number(value: Any) -> float:
    try:
        if isinstance(value, (int, float, str)):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise mismatch("a number", value)


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise mismatch("a string", value)


def _binary(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    data = getattr(value, "data", value)
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise mismatch("a string of bytes", value)


_SCALARS: dict[Any, Callable[[], Kind]] = {
    Any: any_kind,
    object: any_kind,
    None: lambda: Kind({"type": "null"}, _null),
    type(None): lambda: Kind({"type": "null"}, _null),
    bool: lambda: Kind({"type": "boolean"}, _boolean),
    int: lambda: Kind({"type": "integer"}, _integer),
    float: lambda: Kind({"type": "number"}, _number),
    str: lambda: Kind({"type": "string"}, _string, carrier="text"),
    bytes: lambda: Kind({"type": "string", "format": "binary"}, _binary, carrier="bytes"),
}


# Containers.


def _container(base: Any) -> Kind | None:
    origin = typing.get_origin(base) or base
    arguments = typing.get_args(base)
    if origin in (Union, getattr(types, "UnionType", Union)):
        return _union([kind_of(argument) for argument in arguments])
    if origin is typing.Literal:
        return _literal(arguments)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return _tuple([kind_of(argument) for argument in arguments])
    if origin in _ARRAYS:
        return _array(kind_of(arguments[0]) if arguments else any_kind(), *_ARRAYS[origin])
    if origin in (dict, collections.abc.Mapping, collections.abc.MutableMapping):
        return _mapping(*(kind_of(argument) for argument in arguments))
    return None


_ARRAYS: dict[Any, tuple[Callable[[list[Any]], Any], bool]] = {
    list: (list, False),
    tuple: (tuple, False),
    set: (set, True),
    frozenset: (frozenset, True),
    collections.abc.Sequence: (list, False),
    collections.abc.MutableSequence: (list, False),
    collections.abc.Iterable: (list, False),
    collections.abc.Collection: (list, False),
    collections.abc.Set: (frozenset, True),
}


def _array(item: Kind, build: Callable[[list[Any]], Any], unique: bool) -> Kind:
    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise mismatch("an array", value)
        return build(decode_items(value, item))

    schema: Schema = {"type": "array", "items": item.schema}
    if unique:
        schema["uniqueItems"] = True
    return Kind(schema, decode, many=item.carrier == "file")


def array_of(item: Kind) -> Kind:
    """The kind of a list of such items."""
    return _array(item, list, False)


def mapping_to(value: Kind) -> Kind:
    """The kind of a dictionary from strings to such values."""
    return _mapping(_SCALARS[str](), value)


def decode_items(values: list[Any], item: Kind) -> list[Any]:
    """Each value decoded; a mismatch says at which index."""
    decoded: list[Any] = []
    for value in values:
        try:
            decoded.append(item.decode(value))
        except Mismatch as wrong:
            raise wrong.under(len(decoded)) from None
    return decoded


def _tuple(items: list[Kind]) -> Kind:
    def decode(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(items):
            raise Mismatch(f"expected an array of {len(items)} elements")
        return tuple(decode_items([element], item)[0] for element, item in zip(value, items))

    count = len(items)
    # BentoML gives no `items` here, and then its own client fails with a KeyError on such an argument.
    prefix = [item.schema for item in items]
    return Kind({"type": "array", "prefixItems": prefix, "items": {}, "minItems": count, "maxItems": count}, decode)


def _mapping(keys: Kind | None = None, values: Kind | None = None) -> Kind:
    def decode(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise mismatch("an object", value)
        if keys is None or values is None:
            return value
        decoded: dict[Any, Any] = {}
        for key, element in value.items():
            try:
                decoded[keys.decode(key)] = values.decode(element)
            except Mismatch as wrong:
                raise wrong.under(key) from None
        return decoded

    rest = True if values is None or not values.schema else values.schema
    return Kind({"type": "object", "additionalProperties": rest}, decode)


def _union(kinds: list[Kind]) -> Kind:
    # The client goes by the first alternative alone, and null says nothing.
    kinds = sorted(kinds, key=_is_null)

    def decode(value: Any) -> Any:
        """The first alternative that takes the value as it is; else the first that takes it at all."""
        taken: list[Any] = []
        wrongs: list[Mismatch] = []
        for kind in kinds:
            try:
                decoded = kind.decode(value)
            except Mismatch as wrong:
                wrongs += [] if _is_null(kind) else [wrong]
                continue
            if type(decoded) is type(value):
                return decoded
            taken.append(decoded)
        if taken:
            return taken[0]
        raise wrongs[0] if len(wrongs) == 1 else _none_of(wrongs)

    first = kinds[0]
    schema = {"anyOf": [kind.schema for kind in kinds]}
    carrier = first.carrier if first.carrier == "file" else "json"
    return Kind(schema, decode, carrier=carrier, many=first.many)


def _is_null(kind: Kind) -> bool:
    return kind.schema.get("type") == "null"


def _none_of(wrongs: list[Mismatch]) -> Mismatch:
    return Mismatch(" or ".join(dict.fromkeys(wrong.message for wrong in wrongs)))


def _literal(values: tuple[Any, ...]) -> Kind:
    plain = [value.value if isinstance(value, enum.Enum) else value for value in values]
    return Kind(*_choice(plain, list(values)), carrier=_choice_carrier(plain))


def _enumeration(base: Any) -> Kind | None:
    if not (isinstance(base, type) and issubclass(base, enum.Enum)):
        return None
    plain = [member.value for member in base]
    schema, decode = _choice(plain, list(base), lone="enum")
    schema["title"] = base.__name__
    document = base.__doc__
    if document and document != "An enumeration.":
        schema["description"] = document.strip()
    return Kind(schema, decode, carrier=_choice_carrier(plain))


def _choice(plain: list[Any], members: list[Any], lone: str = "const") -> tuple[Schema, Decode]:
    """The schema and decoder of a choice: `plain` as JSON says them, `members` as Python does."""

    def decode(value: Any) -> Any:
        for candidate, member in zip(plain, members):
            if candidate == value and type(candidate) is type(value):
                return member
        raise mismatch("one of " + ", ".join(repr(candidate) for candidate in plain), value)

    schema: Schema = {"const": plain[0]} if len(plain) == 1 and lone == "const" else {"enum": plain}
    if len(plain) == 1 and lone == "enum":
        schema = {"const": plain[0]}
    names = {str: "string", bool: "boolean", int: "integer", float: "number"}
    kinds = {names.get(type(value)) for value in plain}
    if len(kinds) == 1 and None not in kinds:
        schema["type"] = kinds.pop()
    return schema, decode


def _choice_carrier(plain: list[Any]) -> str:
    return "text" if all(isinstance(value, str) for value in plain) else "json"
