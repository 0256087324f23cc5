"""Compares the schemas that Ekiben makes of signatures with those that BentoML makes of the same ones.

Needs bentoml, so it is no part of the suite. Run it from an environment that has BentoML:

    PYTHONPATH=src python tests/bentoml_schemas.py

Where the two differ on purpose, `as_ours` says so, and why.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
import json
import pathlib
import typing
import uuid
from typing import Annotated, Any, Callable, Literal, Optional, Union

import bentoml
import numpy
import numpy.typing
import pydantic
import typing_extensions
from PIL.Image import Image

import ekiben
from ekiben.schema import inline
from ekiben.tasks import Task


class Color(enum.Enum):
    """A color."""

    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    S = 1
    L = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 1.5
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Described:
    """A class that says what it is."""

    point: Point
    near: Optional[Point] = None


class Line(typing_extensions.TypedDict):
    start: int
    end: typing_extensions.NotRequired[str]


class Box(pydantic.BaseModel):
    """A box."""

    width: int = pydantic.Field(ge=1, description="in millimetres")
    corner: Point
    label: Optional[str] = None


def scalars(
    a: int, b: float = 1.0, c: str = "x", d: bool = True, e: Any = None, f=3, g: None = None, h: bytes = b"ab"
) -> int: ...


def arrays(
    a: list[int],
    b: list,
    c: tuple[int, ...],
    d: set[int],
    e: frozenset[str] = frozenset(),
    f: tuple = (),
    g: set = set(),
    h: typing.Sequence[int] = (1, 2),
    i: list[Optional[int]] = [],
) -> list[int]: ...


def mappings(a: dict[str, float], b: dict, c: typing.Mapping[str, int] = {}) -> dict: ...


def pairs(a: tuple[int, str]) -> tuple[int, str]: ...


def choices(
    a: Optional[int] = None,
    b: Union[int, str] = 1,
    c: Literal["a", "b"] = "a",
    d: Literal["x"] = "x",
    e: Literal[1, "a"] = 1,
    f: Color = Color.RED,
    g: Optional[Color] = None,
    h: Size = Size.S,
    i: Optional[list[int]] = None,
    j: Optional[Literal["a", "b"]] = None,
) -> Optional[str]: ...


def classes(
    a: Point, b: Described, c: Line, d: Box, e: list[Point], f: list[Box], g: Optional[Box] = None
) -> Point: ...


def model(a: Box) -> Box: ...


def models(a: Box) -> list[Box]: ...


def files(
    a: pathlib.Path, b: Image, c: list[pathlib.Path], d: list[Image], e: Optional[Image] = None
) -> pathlib.Path: ...


def typed_file(
    a: Annotated[pathlib.Path, bentoml.validators.ContentType("audio/wav")],
) -> Annotated[pathlib.Path, bentoml.validators.ContentType("audio/mp3")]: ...


def tensors(
    a: numpy.ndarray,
    b: Annotated[numpy.ndarray, bentoml.validators.DType("float32"), bentoml.validators.Shape((2, 3))],
    c: numpy.typing.NDArray[numpy.int64],
    d: Optional[numpy.ndarray] = None,
) -> numpy.ndarray: ...


def moments(a: datetime.datetime, b: datetime.date, c: uuid.UUID, d: datetime.time) -> datetime.datetime: ...


def fields(
    a: int = pydantic.Field(description="d", ge=0),
    b: Annotated[int, pydantic.Field(gt=1, description="k")] = 4,
    c: int = pydantic.Field(default=3, le=9),
    some_long_name: str = "",
    class_: int = 2,
) -> None: ...


def keywords(a: int, *, b: str) -> bool: ...


def gathered(a: int, *args: int, **kwargs: Any) -> float: ...


def nothing(): ...


def untyped(a, b=2): ...


def audio() -> Annotated[bytes, bentoml.validators.ContentType("audio/mpeg")]: ...


def union() -> Union[int, str]: ...


def root_integer(a: int, /) -> list: ...


def root_default(a: int = 3, /) -> list[int]: ...


def root_text(a: str, /) -> str: ...


def root_bytes(a: bytes, /) -> bytes: ...


def root_file(a: pathlib.Path, /) -> None: ...


def root_image(a: Image, /) -> Image: ...


def root_model(a: Box, /) -> Any: ...


def root_models(a: list[Box], /) -> Color: ...


def root_tensor(a: numpy.ndarray, /) -> Line: ...


def root_class(a: Point, /) -> Described: ...


def root_mapping(a: dict, /) -> dict[str, int]: ...


SIGNATURES: list[Callable[..., Any]] = [
    made for made in list(globals().values()) if inspect.isfunction(made) and made.__module__ == __name__
]


def theirs(function: Callable[..., Any]) -> dict[str, Any]:
    """The route that BentoML's schema.json has for a task of this signature."""

    def method(): ...

    signature = inspect.signature(function, eval_str=True)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = signature.replace(parameters=[this, *signature.parameters.values()])  # type: ignore[attr-defined]
    method.__name__ = function.__name__
    service = bentoml.service(type("Service", (), {function.__name__: bentoml.task(method)}))
    (route,) = service.schema()["routes"]
    written: dict[str, Any] = json.loads(json.dumps(route))
    return written


def ours(function: Callable[..., Any]) -> dict[str, Any]:
    task = Task(function)
    task.prepare()
    return task.describe()


def as_ours(schema: dict[str, Any]) -> dict[str, Any]:
    """BentoML's schema with our differences.

    - Definitions stand where they are used: the client follows no reference, so BentoML's are lost on it. (In a
      dictionary's values BentoML leaves a reference to a definition that it took out; no signature here has that.)
    - A model that is a whole input or output keeps its own name.
    """
    schema = inline(schema)
    if schema.get("title", "").endswith("IODescriptor"):
        schema["title"] = schema["title"].removesuffix("IODescriptor")
    return schema


def as_theirs(schema: dict[str, Any]) -> dict[str, Any]:
    """Our schema without what BentoML leaves out.

    - A model that is a whole input or output has a description.
    - A tuple has `items`: BentoML's client fails with a KeyError on an array without.
    """
    if schema.get("title") == "Box":
        schema.pop("description")
    return without_tuple_items(schema)


def without_tuple_items(value: Any) -> Any:
    if isinstance(value, list):
        return [without_tuple_items(element) for element in value]
    if not isinstance(value, dict):
        return value
    return {k: without_tuple_items(v) for k, v in value.items() if not (k == "items" and "prefixItems" in value)}


def compare(function: Callable[..., Any]) -> list[str]:
    """What differs, in words."""
    their_route, our_task = theirs(function), ours(function)
    wrong = []
    for side in ("input", "output"):
        expected, made = as_ours(their_route[side]), as_theirs(our_task[side])
        if made != expected or list(made.get("properties", {})) != list(expected.get("properties", {})):
            wrong.append(f"{function.__name__} {side}\n  BentoML {expected}\n  Ekiben  {made}")
    return wrong


def main() -> None:
    assert ekiben.__version__
    wrong = [difference for function in SIGNATURES for difference in compare(function)]
    print("\n".join(wrong))
    assert not wrong, f"{len(wrong)} schemas differ"
    print(f"{len(SIGNATURES)} signatures: every schema is as BentoML {bentoml.__version__} makes it")


if __name__ == "__main__":
    main()
