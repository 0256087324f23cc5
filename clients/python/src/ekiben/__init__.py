"""Workers and clients for Ekiben, a durable async task queue for inference.

Declare functions as tasks, and serve them:

    import ekiben

    @ekiben.task
    def greet(name: str) -> str:
        return f"Hello, {name}"

    if __name__ == "__main__":
        ekiben.serve()

Or submit tasks, where `ekiben[client]` is installed:

    with ekiben.Client("http://127.0.0.1:3000") as client:
        print(client.call("greet", {"name": "Ada"}))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .attempts import Attempt, Canceled, canceled, current, log, progress
from .errors import BadInput
from .kinds import ContentType, DType, Shape
from .tasks import setup, task
from .worker import serve

if TYPE_CHECKING:
    from .client import AsyncClient as AsyncClient
    from .client import Client as Client
    from .client import EkibenError as EkibenError
    from .client import TaskCanceled as TaskCanceled
    from .client import TaskFailed as TaskFailed

__version__ = "0.1.0"

_OF_THE_CLIENT = frozenset({"AsyncClient", "Client", "EkibenError", "TaskCanceled", "TaskFailed"})

__all__ = [
    "Attempt",
    "BadInput",
    "Canceled",
    "ContentType",
    "DType",
    "Shape",
    "canceled",
    "current",
    "log",
    "progress",
    "serve",
    "setup",
    "task",
]


def __getattr__(name: str) -> object:
    """The client, once it is asked for: workers need not have what it needs, nor load it."""
    if name not in _OF_THE_CLIENT:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import client

    return getattr(client, name)
