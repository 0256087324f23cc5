"""A client of Ekiben's API under `/v1`: typed functions, blocking and asynchronous, on httpx.

    from ekiben import Client

    with Client("http://127.0.0.1:3000") as client:
        print(client.call("detect_language", "guten Tag", content_type="text/plain"))

What an operation does is written once, in verbs.py and following.py, as generators that touch no network; Client and
AsyncClient carry them out.
"""

try:
    import httpx  # noqa: F401
except ModuleNotFoundError as missing:
    raise ImportError(
        "the client of Ekiben needs httpx, which workers do not: pip install 'ekiben[client]'", name="httpx"
    ) from missing

from .asynchronous import AsyncClient
from .blocking import Client
from .errors import (
    AlreadyStarted,
    BadRequest,
    BatchNotFound,
    Conflict,
    EkibenError,
    EndpointNotFound,
    IdempotencyMismatch,
    NotFinished,
    NotFound,
    QueueFull,
    ServerUnavailable,
    TaskCanceled,
    TaskFailed,
    TaskNotFound,
    TooLarge,
    WaitTimedOut,
)
from .following import Result
from .options import SubmitOptions
from .results import (
    Attempt,
    Batch,
    BatchResult,
    Cancellation,
    EndpointInfo,
    Event,
    Failure,
    LogLine,
    Logs,
    Progress,
    Quantiles,
    QueueEstimate,
    Rates,
    Span,
    Task,
)
from .wire import Retries

__all__ = [
    "AlreadyStarted",
    "AsyncClient",
    "Attempt",
    "BadRequest",
    "Batch",
    "BatchNotFound",
    "BatchResult",
    "Cancellation",
    "Client",
    "Conflict",
    "EkibenError",
    "EndpointInfo",
    "EndpointNotFound",
    "Event",
    "Failure",
    "IdempotencyMismatch",
    "LogLine",
    "Logs",
    "NotFinished",
    "NotFound",
    "Progress",
    "Quantiles",
    "QueueEstimate",
    "QueueFull",
    "Rates",
    "Result",
    "Retries",
    "ServerUnavailable",
    "Span",
    "SubmitOptions",
    "Task",
    "TaskCanceled",
    "TaskFailed",
    "TaskNotFound",
    "TooLarge",
    "WaitTimedOut",
]
