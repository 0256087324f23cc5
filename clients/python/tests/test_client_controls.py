"""The client and what is changed of an endpoint while it runs."""

from __future__ import annotations

from typing import Any

import pytest

from ekiben.client import BadRequest


def test_an_endpoint_is_paused_purged_and_resumed(client: Any) -> None:
    assert client.pause("paced").paused
    waiting = [client.submit("paced", n) for n in range(3)]
    assert client.endpoint("paced").counts["pending"] >= 3
    assert client.purge("paced") >= 3
    assert {client.get(task).state for task in waiting} == {"canceled"}
    assert not client.resume("paced").paused
    assert client.submit_and_wait("paced", 1).state == "completed"


def test_the_concurrency_of_an_endpoint_is_changed_while_it_runs(client: Any) -> None:
    assert client.set_concurrency("paced", 3).concurrency == 3
    assert client.endpoint("paced").concurrency == 3
    client.set_concurrency("paced", 1)
    with pytest.raises(BadRequest):
        client.set_concurrency("paced", -1)
