"""The client for ordinary code: every call blocks until it has its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from .following import PAGE, Following, Key, Result, write_chunk
from .options import Seconds, SubmitOptions
from .results import Attempt, Batch, BatchResult, Cancellation, EndpointInfo, Event, Logs, Task
from .transport import Settings, answer_of, lost, prepared
from .verbs import BatchRef, TaskRef
from .wire import Command, Done, Emit, Exchange, Open, Read, Retries, Sleep, Steps, advance

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


class Client:
    """A client of an Ekiben server. It may be used by many threads at once, and is a context manager.

    `server` is its address; by default that in `EKIBEN_SERVER`, else `http://127.0.0.1:3000`. `timeout` is how many
    seconds a request may go without a byte; waiting for a task is not bounded by it. `headers` go with every request.
    `retries` says how often and how soon a request is made again that met no answer, or a server without room: all but
    those that would then be carried out twice.
    """

    def __init__(
        self,
        server: str | None = None,
        *,
        timeout: Seconds = 30.0,
        headers: Mapping[str, str] | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._settings = Settings.of(server, timeout, headers)
        self._http = httpx.Client(**self._settings.arguments())
        self._verbs = Following(retries or Retries())

    # To submit, and to wait.

    def submit(self, endpoint: str, input: Any, **options: Unpack[SubmitOptions]) -> Task:
        """Submits a task, and returns once it is durable.

        `input` is any JSON value; or bytes; or a `pathlib.Path` or a file opened in binary mode, which are streamed.
        Options, durations being seconds or a timedelta: `content_type`, `priority`, `delay` or `not_before`,
        `queue_ttl`, `timeout`, `deadline`, `max_attempts`, `retention`, `tags`, `fairness_key`, `idempotency_key`,
        `webhook`; see SubmitOptions. A submission whose answer is lost is repeated under its idempotency key, so that
        there is one task.
        """
        return self._run(self._verbs.submit(endpoint, input, options))

    def submit_and_wait(
        self, endpoint: str, input: Any, *, wait: Seconds | None = None, **options: Unpack[SubmitOptions]
    ) -> Task:
        """Submits a task and returns it when it has ended, however it did. See `submit` and `wait`."""
        return self._run(self._verbs.submit_and_wait(endpoint, input, wait, options))

    def call(self, endpoint: str, input: Any, *, wait: Seconds | None = None, **options: Unpack[SubmitOptions]) -> Any:
        """Submits a task, waits for it and returns its output, decoded as `output` does.

        Raises TaskFailed or TaskCanceled when that is how it ended, and WaitTimedOut when it has not within `wait`: the
        task goes on then.
        """
        return self._run(self._verbs.call(endpoint, input, wait, options))

    def wait(self, task: TaskRef, timeout: Seconds | None = None) -> Task:
        """The task, once it has ended, however it did. Raises WaitTimedOut after `timeout`."""
        return self._run(self._verbs.wait(task, timeout))

    def map(
        self,
        endpoint: str,
        inputs: Iterable[Any],
        *,
        concurrency: int = 16,
        key: Key = None,
        **options: Unpack[SubmitOptions],
    ) -> Iterator[Result]:
        """Submits a task for each input and gives what came of each, in their order.

        At most `concurrency` of them are unfinished at a time, and no more inputs are taken. A task that fails is a
        result that says so. `key` makes the idempotency keys: a text, to which the input's index is added, or a function
        of index and input. With the same keys, what was interrupted is run again and nothing is done twice.
        """
        return self._iterate(self._verbs.map(endpoint, inputs, concurrency, key, options))

    # To ask.

    def get(self, task: TaskRef) -> Task:
        """The task as it is now."""
        return self._run(self._verbs.get(task))

    def tasks(
        self,
        *,
        endpoint: str | None = None,
        state: str | None = None,
        tags: Mapping[str, str] | None = None,
        submitted_after: datetime | None = None,
        submitted_before: datetime | None = None,
        page_size: int = PAGE,
    ) -> Iterator[Task]:
        """The tasks of which all this holds, newest first. Pages of them are fetched as they are gone through."""
        steps = self._verbs.tasks(endpoint, state, tags, submitted_after, submitted_before, page_size)
        return self._iterate(steps)

    def input(self, task: TaskRef) -> Any:
        """What was submitted, decoded as `output` does."""
        return self._run(self._verbs.input(task))

    def output(self, task: TaskRef) -> Any:
        """What came of a completed task: a value for JSON, a string for text, else bytes.

        Raises TaskFailed, TaskCanceled or NotFinished where there is none.
        """
        return self._run(self._verbs.output(task))

    def output_to(self, task: TaskRef, path: str | os.PathLike[str]) -> Path:
        """Writes the output to a file, however large it is. The file is there when it is whole."""
        return self._save(self._verbs.download(task, "output"), Path(path))

    def input_to(self, task: TaskRef, path: str | os.PathLike[str]) -> Path:
        """Writes the input to a file, as `output_to` does."""
        return self._save(self._verbs.download(task, "input"), Path(path))

    def attempts(self, task: TaskRef) -> list[Attempt]:
        """Its runs: who ran it, when, and what came of it."""
        return self._run(self._verbs.attempts(task))

    def logs(self, task: TaskRef) -> Logs:
        """The last lines its latest run said, also while it runs."""
        return self._run(self._verbs.logs(task))

    def events(self, task: TaskRef, last_event_id: str | None = None) -> Iterator[Event]:
        """What happens to the task as it happens, to its end, from the start or from after an event.

        Where the connection breaks it is made again, and no event is missed.
        """
        return self._iterate(self._verbs.events(task, last_event_id))

    # To change.

    def cancel(self, task: TaskRef, *, force: bool = False) -> Cancellation:
        """Cancels a task that waits; with `force` one that runs, too. Raises AlreadyStarted for one that runs."""
        return self._run(self._verbs.cancel(task, force))

    def retry(self, task: TaskRef) -> Task:
        """Submits a new task with the input and options of one that has ended."""
        return self._run(self._verbs.retry(task))

    def delete(self, task: TaskRef) -> None:
        """Deletes a task that has ended, with its input and output."""
        self._run(self._verbs.delete(task))

    # Endpoints.

    def endpoints(self) -> list[EndpointInfo]:
        """All endpoints."""
        return self._run(self._verbs.endpoints())

    def endpoint(self, name: str) -> EndpointInfo:
        """An endpoint, and how it stands."""
        return self._run(self._verbs.endpoint(name))

    def pause(self, endpoint: str) -> EndpointInfo:
        """Starts no more tasks of the endpoint. It goes on taking them."""
        return self._run(self._verbs.pause(endpoint))

    def resume(self, endpoint: str) -> EndpointInfo:
        """Ends a pause."""
        return self._run(self._verbs.resume(endpoint))

    def purge(self, endpoint: str) -> int:
        """Cancels all tasks that wait there. Returns how many."""
        return self._run(self._verbs.purge(endpoint))

    def set_concurrency(self, endpoint: str, concurrency: int) -> EndpointInfo:
        """Changes how many of its tasks run at a time."""
        return self._run(self._verbs.set_concurrency(endpoint, concurrency))

    # Batches.

    def create_batch(
        self,
        endpoint: str,
        lines: Any,
        *,
        priority: int | str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch:
        """Submits many tasks at once, and returns once all are durable.

        `lines` are dicts with `input`, `custom_id` and, if need be, a task's options as the API names them; or a path or
        a binary file of JSON lines. They are streamed, so there is no bound to how many. The priority is `background`
        unless told otherwise. Where lines were refused, the error's `problem` says which, and the others are recorded:
        with the same `idempotency_key`, the lines that are better now join them.
        """
        return self._run(self._verbs.create_batch(endpoint, lines, priority, idempotency_key))

    def batch(self, batch: BatchRef) -> Batch:
        """The batch as it is now."""
        return self._run(self._verbs.batch(batch))

    def batches(self, *, endpoint: str | None = None, page_size: int = PAGE) -> Iterator[Batch]:
        """The batches, newest first."""
        return self._iterate(self._verbs.batches(endpoint, page_size))

    def batch_results(self, batch: BatchRef, *, states: Iterable[str] = ()) -> Iterator[BatchResult]:
        """What came of each line so far, in their order; of the lines in these states, where some are given.

        Where the connection breaks it is made again, and no result is missed.
        """
        return self._iterate(self._verbs.batch_results(batch, states))

    def cancel_batch(self, batch: BatchRef) -> Batch:
        """Cancels those of its tasks that wait."""
        return self._run(self._verbs.cancel_batch(batch))

    # What carries operations out.

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        with _Wire(self._http, self._settings) as wire:
            command = advance(steps)
            while not isinstance(command, Done):
                command = advance(steps, wire.obey(command))
        result: T = command.value
        return result

    def _iterate(self, steps: Steps[None]) -> Iterator[Any]:
        with _Wire(self._http, self._settings) as wire:
            command = advance(steps)
            while not isinstance(command, Done):
                if isinstance(command, Emit):
                    yield command.item
                command = advance(steps, wire.obey(command))

    def _save(self, chunks: Steps[None], path: Path) -> Path:
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                for chunk in self._iterate(chunks):
                    write_chunk(file, chunk)
                file.truncate()
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return path


class _Wire:
    """Obeys the commands of one operation."""

    def __init__(self, http: httpx.Client, settings: Settings) -> None:
        self._http = http
        self._settings = settings
        self._open: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def obey(self, command: Command) -> object:
        """The reply to a command."""
        try:
            if isinstance(command, Exchange):
                response = self._send(command)
                try:
                    return answer_of(response, response.read())
                finally:
                    response.close()
            if isinstance(command, Open):
                self.close()
                self._open = opened = self._send(command)
                self._pieces = opened.iter_bytes()
                return answer_of(opened, opened.read() if opened.is_error else b"")
            if isinstance(command, Read):
                return next(self._pieces, b"")
        except httpx.TransportError as error:
            return lost(error)
        if isinstance(command, Sleep):
            time.sleep(command.seconds)
        return None

    def _send(self, command: Exchange | Open) -> httpx.Response:
        body = command.request.body
        content = None if body is None else body.chunks()
        request = self._http.build_request(**prepared(command.request, self._settings), content=content)
        return self._http.send(request, stream=True)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
