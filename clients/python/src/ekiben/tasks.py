"""Tasks: the functions that a worker offers, and the setup that runs before them."""

from __future__ import annotations

import inspect
import typing
from typing import Any, Callable, TypeVar, overload

from .answers import Output
from .intake import Intake

Function = TypeVar("Function", bound=Callable[..., Any])


class Task:
    """A function that Ekiben may run."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        description: str | None = None,
        root_input: bool = False,
    ) -> None:
        document = inspect.getdoc(function)
        self.function = function
        self.name = name or function.__name__
        self.description = description if description is not None else document
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._root_input = root_input
        self.intake: Intake
        self.output: Output

    def prepare(self) -> None:
        """Reads the annotations. It comes late, so that they may name what is defined further down."""
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
            self.intake = Intake(self.function, hints, self._root_input)
            self.output = Output(hints.get("return", Any))
        except (TypeError, NameError) as error:
            raise TypeError(f"task {self.name}: {error}") from error

    def describe(self) -> dict[str, Any]:
        """The task as the hello names it."""
        described: dict[str, Any] = {"name": self.name, "input": self.intake.schema, "output": self.output.schema}
        if self.description:
            described["description"] = self.description
        return described


registered: list[Task] = []
"""The tasks of this program, in the order of their declarations."""

setups: list[Callable[[], Any]] = []
"""What runs once, before the first task."""


@overload
def task(function: Function) -> Function: ...


@overload
def task(
    *, name: str | None = None, description: str | None = None, root_input: bool = False
) -> Callable[[Function], Function]: ...


def task(
    function: Function | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    root_input: bool = False,
) -> Function | Callable[[Function], Function]:
    """Declares a task: `@ekiben.task`, or `@ekiben.task(name=..., description=...)`.

    The function stays as it is and may be called as before. Its annotations say what it takes and gives. With
    `root_input=True`, or a parameter before a `/`, the whole body of a request is its one argument.
    """

    def declare(function: Function) -> Function:
        registered.append(Task(function, name, description, root_input))
        return function

    return declare if function is None else declare(function)


def setup(function: Function) -> Function:
    """Declares what runs once, before the worker says that it is ready: load the model here. May be `async`."""
    setups.append(function)
    return function


def find(function: Callable[..., Any]) -> Task:
    """The task that was declared of a function; a plain function becomes one."""
    return next((known for known in registered if known.function is function), None) or Task(function)
