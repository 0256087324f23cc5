"""The operations that give to the caller piece by piece: pages, events, large bodies, results of many tasks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Callable, Union

from .errors import EkibenError, QueueFull, TaskCanceled, TaskFailed
from .options import SubmitOptions, time_text
from .results import Batch, BatchResult, Task
from .streams import Events, Lines
from .verbs import ANY, BatchRef, TaskRef, Verbs, batch_path, submission, task_of, task_path
from .wire import ConnectionLost, Emit, Open, Read, Request, Sleep, Steps, carry_out

HEARTBEAT = 60.0
"""How many seconds longer than other answers an event stream may be silent before it is taken for broken."""

PAGE = 100
"""How many tasks a page has, unless told otherwise."""


@dataclass(frozen=True)
class Chunk:
    """Bytes of a body, and where in it they are."""

    offset: int
    data: bytes


def write_chunk(file: BinaryIO, chunk: Chunk) -> None:
    """Puts a chunk where it belongs."""
    file.seek(chunk.offset)
    file.write(chunk.data)


@dataclass(frozen=True)
class Result:
    """What came of one input of a `map`."""

    index: int
    """Which of the inputs, from 0."""
    task: Task
    output: Any = None
    """The decoded output; None where the task did not complete."""
    error: TaskFailed | TaskCanceled | None = None
    """Why there is none."""

    def value(self) -> Any:
        """The output; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        return self.output


Key = Union[str, Callable[[int, Any], str], None]


class Following(Verbs):
    """All operations: the verbs, and those that iterate."""

    def tasks(
        self,
        endpoint: str | None,
        state: str | None,
        tags: Mapping[str, str] | None,
        submitted_after: datetime | None,
        submitted_before: datetime | None,
        page_size: int,
    ) -> Steps[None]:
        """Emits tasks."""
        query = [("limit", str(page_size))]
        query += [("endpoint", endpoint)] if endpoint is not None else []
        query += [("state", state)] if state is not None else []
        query += [("tag", f"{key}:{value}") for key, value in (tags or {}).items()]
        query += [("submitted_after", time_text(submitted_after))] if submitted_after is not None else []
        query += [("submitted_before", time_text(submitted_before))] if submitted_before is not None else []
        yield from self._pages("/v1/tasks", query, "tasks", Task.parse)

    def batches(self, endpoint: str | None, page_size: int) -> Steps[None]:
        """Emits batches."""
        query = [("limit", str(page_size))]
        query += [("endpoint", endpoint)] if endpoint is not None else []
        yield from self._pages("/v1/batches", query, "batches", Batch.parse)

    def _pages(self, path: str, query: list[tuple[str, str]], key: str, parse: Callable[[Any], Any]) -> Steps[None]:
        cursor: tuple[tuple[str, str], ...] = ()
        while True:
            answer = yield from self.carry_out(Request("GET", path, (*query, *cursor)))
            page = answer.object()
            for item in page.get(key) or ():
                yield Emit(parse(item))
            if not page.get("next_cursor"):
                return
            cursor = (("cursor", str(page["next_cursor"])),)

    def events(self, task: TaskRef, last_event_id: str | None) -> Steps[None]:
        """Emits events, to the one that ends the task. Connects again, and goes on after the last one heard."""
        heard_last, silent = last_event_id, 0
        while True:
            headers = {"accept": "text/event-stream", "cache-control": "no-store"}
            if heard_last is not None:
                headers["last-event-id"] = heard_last
            answer = yield from self.open(
                Request("GET", task_path(task, "events"), headers=headers, patience=HEARTBEAT)
            )
            if answer.status == 204:
                return
            events, alive, heard = Events(), False, False
            broken: ConnectionLost | None = None
            try:
                while True:
                    data: bytes = yield Read()
                    if not data:
                        break
                    alive = True
                    for event in events.feed(data):
                        heard = True
                        heard_last = event.id or heard_last
                        yield Emit(event)
                        if event.last:
                            return
            except ConnectionLost as lost:
                broken = lost
            silent = 0 if alive else silent + 1
            # Ended, and nothing came: perhaps all was heard before.
            if broken is None and not heard and (yield from self.get(task)).finished:
                return
            pause = self.retries.pause(max(silent, 1))
            if pause is None:
                raise EkibenError(f"the events of the task break off again and again: {broken or 'they end at once'}")
            yield Sleep(max(pause, min(events.retry or 0.0, self.retries.longest_pause)))

    def download(self, task: TaskRef, what: str) -> Steps[None]:
        """Emits chunks of an input or an output. Where the connection breaks, it goes on from there."""
        offset, stuck, etag = 0, 0, None
        while True:
            headers = {**ANY, "accept-encoding": "identity"}
            if offset and etag:
                headers.update({"range": f"bytes={offset}-", "if-range": etag})
            request = Request("GET", task_path(task, what), headers=headers, of_task=what == "output")
            try:
                answer = yield from self.open(request)
            except EkibenError as error:
                if what == "output":
                    yield from self.raise_for_end(task, error)
                raise
            if answer.status >= 400:
                yield from self.raise_for_end(task, answer)
                raise EkibenError(f"{what} of the task: status {answer.status}", status=answer.status)
            if answer.status != 206:
                offset = 0
            etag = answer.headers.get("etag")
            begun = offset
            try:
                while True:
                    data: bytes = yield Read()
                    if not data:
                        return
                    yield Emit(Chunk(offset, data))
                    offset += len(data)
            except ConnectionLost as lost:
                stuck = 0 if offset > begun and etag else stuck + 1
                pause = self.retries.pause(max(stuck, 1))
                if pause is None:
                    raise EkibenError(f"the {what} of the task breaks off again and again: {lost}") from None
                yield Sleep(pause)

    def batch_results(self, batch: BatchRef, states: Iterable[str]) -> Steps[None]:
        """Emits results. Where the connection breaks, it goes on after the last one."""
        wanted, last, stuck = ",".join(states), None, 0
        while True:
            query = [("state", wanted)] if wanted else []
            query += [("after", last)] if last is not None else []
            yield from self.open(Request("GET", batch_path(batch, "results"), tuple(query), ANY))
            lines, before = Lines(), last
            try:
                while True:
                    data: bytes = yield Read()
                    for line in lines.feed(data) if data else lines.end():
                        result = BatchResult.parse(json.loads(line))
                        last = result.custom_id
                        yield Emit(result)
                    if not data:
                        return
            except ConnectionLost as lost:
                stuck = 0 if last != before else stuck + 1
                pause = self.retries.pause(max(stuck, 1))
                if pause is None:
                    raise EkibenError(f"the results of the batch break off again and again: {lost}") from None
                yield Sleep(pause)

    def map(
        self, endpoint: str, inputs: Iterable[Any], concurrency: int, key: Key, options: SubmitOptions
    ) -> Steps[None]:
        """Emits a result for each input, in their order. At most `concurrency` tasks of it are unfinished."""
        if concurrency < 1:
            raise ValueError(f"concurrency is 1 or more, not {concurrency}")
        if key is not None and options.get("idempotency_key") is not None:
            raise ValueError("one idempotency_key cannot be that of many tasks: give `key`")
        waiting: deque[tuple[int, Task]] = deque()
        for index, value in enumerate(inputs):
            if len(waiting) >= concurrency:
                yield Emit((yield from self._result(*waiting.popleft())))
            request = submission(endpoint, value, options if key is None else _with_key(options, key, index, value))
            while True:
                try:
                    answer = yield from self.carry_out(request)
                    break
                except QueueFull:
                    # Room may come when one of ours ends, which is waited for anyway.
                    if not waiting or not (request.body and request.body.repeatable):
                        raise
                    yield Emit((yield from self._result(*waiting.popleft())))
            waiting.append((index, task_of(answer, keyed=key is not None)))
        while waiting:
            yield Emit((yield from self._result(*waiting.popleft())))

    def _result(self, index: int, task: Task) -> Steps[Result]:
        ended = yield from self.wait(task, None)
        try:
            return Result(index, ended, output=(yield from self.output(ended)))
        except (TaskFailed, TaskCanceled) as error:
            return Result(index, error.task, error=error)

    def open(self, request: Request) -> Steps[Any]:
        return carry_out(request, self.retries, Open)


def _with_key(options: SubmitOptions, key: Key, index: int, value: Any) -> SubmitOptions:
    return {**options, "idempotency_key": key(index, value) if callable(key) else f"{key}/{index}"}
