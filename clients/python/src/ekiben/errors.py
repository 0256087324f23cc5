"""The errors of input."""

from __future__ import annotations

from typing import Union

Step = Union[str, int]


class BadInput(Exception):
    """Raise it for input that no retry makes better: the task fails at once, and its client gets a 400."""


class Mismatch(Exception):
    """A value is not what an annotation says. `path` leads from the argument to it."""

    def __init__(self, message: str, *path: Step) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[Step] = list(path)

    def under(self, step: Step) -> Mismatch:
        """The same, seen from one level further out."""
        self.path.insert(0, step)
        return self

    def where(self) -> str:
        """The path as one would write it: `points[0].x`."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return text.lstrip(".")


def mismatch(expected: str, value: object) -> Mismatch:
    """The usual mismatch. It names what the value is, and never shows it: messages end in logs."""
    return Mismatch(f"expected {expected}, got {_name(value)}")


def _name(value: object) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "a file" if type(value).__name__ == "Upload" else f"a {type(value).__name__}")
