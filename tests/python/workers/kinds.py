"""A worker with a task for each kind of input and output that BentoML's clients know."""

from pathlib import Path

import ekiben
import numpy
import PIL.Image
import pydantic


class Order(pydantic.BaseModel):
    """What is wanted, and how often."""

    dish: str
    count: int = pydantic.Field(default=1, ge=1)


class Bill(pydantic.BaseModel):
    """What it comes to."""

    dish: str
    total: float


@ekiben.task
def add(a: int, b: int = 2) -> int:
    """JSON in and out."""
    return a + b


@ekiben.task
def rotate(image: PIL.Image.Image, angle: int = 90) -> PIL.Image.Image:
    """An image in and out. `angle` is counted against the clock."""
    return image.rotate(angle, expand=True)


@ekiben.task
def upper(file: Path) -> Path:
    """A file in and out."""
    out = ekiben.current().folder / f"upper-{file.name}"
    out.write_bytes(file.read_bytes().upper())
    return out


@ekiben.task
def double(array: numpy.ndarray) -> numpy.ndarray:
    """An array in and out."""
    return array * 2


@ekiben.task
def price(order: Order) -> Bill:
    """Models in and out."""
    return Bill(dish=order.dish, total=order.count * 9.5)


@ekiben.task
def shout(text: str, /) -> str:
    """A text as the whole body, in and out."""
    return text.upper()


if __name__ == "__main__":
    ekiben.serve()
