"""A BentoML service as its documentation has one write it: tasks and plain routes, one for each kind of payload.

Served by `python -m bentoml serve bentoml_service:Models`. Nothing here knows of ekiben.
"""

import os
import time
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
import pydantic
from bentoml.exceptions import InvalidArgument
from bentoml.validators import ContentType
from PIL import Image


class Review(pydantic.BaseModel):
    text: str
    stars: int = 3


class Verdict(pydantic.BaseModel):
    label: str
    score: float


@bentoml.service(name="Models")
class Models:
    @bentoml.task
    def add(self, a: int, b: int = 2, note: str = "") -> dict:
        """Adds two numbers."""
        return {"sum": a + b, "note": note}

    @bentoml.task
    def rotate(self, image: Image.Image, angle: int = 90) -> Image.Image:
        turned = image.rotate(angle, expand=True)
        turned.format = image.format
        return turned

    @bentoml.api
    def uppercase(self, document: Path, context: bentoml.Context) -> Path:
        written = Path(context.temp_dir) / "upper.txt"
        written.write_text(document.read_text().upper())
        return written

    @bentoml.task
    def scale(self, matrix: np.ndarray, factor: float = 2.0) -> np.ndarray:
        return matrix * factor

    @bentoml.task
    def judge(self, review: Review) -> Verdict:
        return Verdict(label="good" if review.stars > 2 else "bad", score=review.stars / 5)

    @bentoml.api
    def shout(self, text: str) -> str:
        return text.upper()

    @bentoml.api
    def count(self, to: int) -> Generator[str, None, None]:
        for number in range(to):
            yield f"{number}\n"

    @bentoml.task
    def tone(self, seconds: float) -> Annotated[bytes, ContentType("audio/mpeg")]:
        return b"\x00\xff\xfb" * int(seconds * 100)

    @bentoml.task
    def fail(self, how: str) -> str:
        if how == "argument":
            raise InvalidArgument("bad arg")
        raise ValueError("not for the client to know")

    @bentoml.api
    def together(self, texts: list[str]) -> list[dict]:
        """Tells with each text how many it was given at once."""
        return [{"text": text.upper(), "of": len(texts)} for text in texts]

    @bentoml.task
    def nap(self, number: int, seconds: float = 0.02) -> dict:
        time.sleep(seconds)
        return {"number": number}

    if os.environ.get("MODELS_GREW"):

        @bentoml.task
        def newcomer(self, text: str) -> str:
            return text[::-1]
