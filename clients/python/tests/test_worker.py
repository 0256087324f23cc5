"""The life of a worker: hello, tasks, how they end, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from ekiben_harness import SOURCE, Worker

NOOP = """
@ekiben.task
def noop() -> None:
    pass
"""


def test_a_worker_says_hello_and_runs_tasks() -> None:
    source = '''
    @ekiben.task
    def add(a: int, b: int = 2) -> int:
        """Adds."""
        return a + b
    '''
    with Worker.of(source) as worker:
        assert worker.hello["protocol"] == 1
        assert worker.hello["concurrency"] == 1
        (task,) = worker.hello["tasks"]
        assert (task["name"], task["description"]) == ("add", "Adds.")
        assert task["input"]["required"] == ["a"]
        assert task["output"] == {"type": "integer"}
        assert worker.call("add", a=1) == 3
        assert worker.call("add", a=1, b=5) == 6


def test_a_no_op_is_quick() -> None:
    with Worker.of(NOOP) as worker:
        took = []
        for _ in range(5000):
            begun = time.perf_counter()
            worker.ask("noop")
            took.append(time.perf_counter() - begun)
        took.sort()
        median, late = took[len(took) // 2] * 1e6, took[int(len(took) * 0.99)] * 1e6
        print(f"\nround trip of a no-op: median {median:.1f} us, 99th percentile {late:.1f} us")
        assert median < 1000
