"""Workers for Ekiben, a durable async task queue for inference.

Declare functions as tasks, and serve them:

    import ekiben

    @ekiben.task
    def greet(name: str) -> str:
        return f"Hello, {name}"

    if __name__ == "__main__":
        ekiben.serve()
"""

from .attempts import Attempt, Canceled, canceled, current, log, progress
from .errors import BadInput
from .kinds import ContentType, DType, Shape
from .tasks import setup, task
from .worker import serve

__version__ = "0.1.0"

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
