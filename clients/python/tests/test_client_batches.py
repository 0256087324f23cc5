"""The client and batches: many tasks submitted as one."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from ekiben.client import BadRequest, BatchNotFound, Retries
from ekiben_server import NO_TASK, Server, Wire, until


def lines(count: int) -> list[dict[str, Any]]:
    return [{"custom_id": f"line {n}", "input": {"n": n}} for n in range(count)]


def ended(client: Any, batch: Any) -> Any:
    return until("the end of the batch", lambda: (now := client.batch(batch)).finished and now)


@pytest.mark.parametrize("form", ["list", "generator", "path", "bytes"])
def test_a_batch_is_submitted_and_its_results_are_fetched(client: Any, tmp_path: Path, form: str) -> None:
    written = "".join(json.dumps(line) + "\n" for line in lines(50)).encode()
    path = tmp_path / "lines.jsonl"
    path.write_bytes(written)
    given = {"list": lines(50), "generator": iter(lines(50)), "path": path, "bytes": written}[form]
    batch = client.create_batch("echo", given)
    assert batch.endpoint == "echo"
    done = ended(client, batch)
    assert (done.state, done.total, done.counts["completed"], done.refused) == ("completed", 50, 50, 0)
    results = {result.custom_id: result for result in client.batch_results(batch)}
    assert {name: result.output for name, result in results.items()} == {f"line {n}": {"n": n} for n in range(50)}
    one = client.get(results["line 7"].task_id)
    assert (one.batch, one.custom_id) == (batch.id, "line 7")
    assert batch.id in [listed.id for listed in client.batches()]


def test_a_batch_whose_answer_is_lost_is_one_batch(connect: Any, server: Server) -> None:
    with Wire(server.port) as wire:
        client = connect(wire.url, retries=Retries(tries=8, first_pause=0.02))
        before = {batch.id for batch in client.batches(endpoint="echo")}
        wire.lose = 1
        batch = client.create_batch("echo", lines(20), priority="normal")
        assert (wire.cuts, batch.priority) == (1, 5)
        assert {batch.id for batch in client.batches()} - before == {batch.id}
        assert ended(client, batch).total == 20


def test_results_go_on_where_they_broke_off(connect: Any, server: Server) -> None:
    with Wire(server.port) as wire:
        client = connect(wire.url, retries=Retries(tries=8, first_pause=0.02))
        batch = client.create_batch("echo", [{**line, "input": "x" * 2000} for line in lines(300)])
        ended(client, batch)
        wire.cut_after = 200_000
        names = [result.custom_id for result in client.batch_results(batch, states=["completed"])]
        assert names == [line["custom_id"] for line in lines(300)]
        assert wire.cuts == 1


def test_refused_lines_are_named_and_may_be_sent_again(client: Any) -> None:
    key = str(uuid.uuid4())
    with pytest.raises(BadRequest) as raised:
        client.create_batch("echo", [*lines(2), {"custom_id": "odd", "inputt": 1}], idempotency_key=key)
    assert [line["line"] for line in raised.value.problem["lines"]] == [3]
    batch = client.create_batch("echo", [*lines(2), {"custom_id": "odd", "input": 1}], idempotency_key=key)
    assert ended(client, batch).total == 3


def test_what_failed_in_a_batch_says_why(client: Any) -> None:
    given = [{"custom_id": "good", "input": {"give": 1}}, {"custom_id": "bad", "input": {"fail": "input"}}]
    batch = client.create_batch("work", given)
    done = ended(client, batch)
    assert (done.counts["completed"], done.counts["failed"], dict(done.failures)) == (1, 1, {"bad_input": 1})
    results = {result.custom_id: result for result in client.batch_results(batch)}
    assert (results["good"].output, results["bad"].failure.code) == (1, "bad_input")


def test_a_batch_is_canceled(client: Any) -> None:
    batch = client.create_batch("paced", [{**line, "delay": "1h"} for line in lines(5)])
    until("its tasks", lambda: client.batch(batch).total == 5)
    client.cancel_batch(batch)
    done = ended(client, batch)
    assert (done.state, done.counts["canceled"]) == ("canceled", 5)


def test_a_batch_that_is_not_there_is_named(client: Any) -> None:
    with pytest.raises(BatchNotFound):
        client.batch(NO_TASK)
    with pytest.raises(TypeError, match="iterable of dicts"):
        client.create_batch("echo", {"input": 1})
    with pytest.raises(TypeError, match="iterable of dicts"):
        client.create_batch("echo", "lines.jsonl")
