"""The life of a worker: its hello, how attempts end, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

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

    @ekiben.task(name="subtract", description="Takes away.")
    def minus(a: int, b: int) -> int:
        return a - b
    '''
    with Worker.of(source) as worker:
        assert worker.hello["protocol"] == 1
        assert worker.hello["concurrency"] == 1
        add, subtract = worker.hello["tasks"]
        assert (add["name"], add["description"]) == ("add", "Adds.")
        assert add["input"]["required"] == ["a"]
        assert add["output"] == {"type": "integer"}
        assert (subtract["name"], subtract["description"]) == ("subtract", "Takes away.")
        assert worker.call("add", a=1) == 3
        assert worker.call("add", a=1, b=5) == 6
        assert worker.call("subtract", a=1, b=5) == -4


def test_a_no_op_is_quick() -> None:
    with Worker.of(NOOP) as worker:
        took = sorted(worker.round_trips("noop", 10_000))
        median, late = took[len(took) // 2] * 1e6, took[int(len(took) * 0.99)] * 1e6
        print(f"\nround trip of a no-op: median {median:.1f} us, 99th percentile {late:.1f} us")
        assert median < 1000


def test_a_task_that_the_worker_has_not_fails_and_the_worker_goes_on() -> None:
    with Worker.of(NOOP) as worker:
        assert worker.ask("other").header["message"] == "this worker has no task other"
        assert worker.call("noop") is None


def test_setups_run_once_and_before_the_hello() -> None:
    source = """
    loaded = []

    @ekiben.setup
    def load() -> None:
        loaded.append(1)

    @ekiben.task
    def count() -> int:
        return len(loaded)
    """
    with Worker.of(source) as worker:
        assert [worker.call("count"), worker.call("count")] == [1, 1]


def test_an_exception_fails_the_attempt_and_leaves_its_traceback() -> None:
    source = """
    @ekiben.task
    def work(how: str) -> None:
        if how == "memory":
            raise MemoryError("no room")
        if how == "exit":
            raise SystemExit(3)
        if how == "input":
            raise ekiben.BadInput("no such style")
        raise ValueError("no such style")
    """
    with Worker.of(source) as worker:
        ends = {how: worker.ask("work", json.dumps({"how": how}).encode()).header for how in ["any", "memory", "exit"]}
        assert (ends["any"]["code"], ends["any"]["message"]) == ("failed", "ValueError: no such style")
        assert ends["memory"]["code"] == "out_of_memory"
        assert (ends["exit"]["code"], ends["exit"]["message"]) == ("failed", "SystemExit: 3")
        bad = worker.ask("work", b'{"how": "input"}').header
        assert (bad["code"], bad["status"], bad["message"]) == ("bad_input", 400, "no such style")
        assert "in work" in worker.log() and "runners.py" not in worker.log()


def test_progress_log_and_current_are_of_the_attempt() -> None:
    source = """
    @ekiben.task
    def work() -> dict:
        ekiben.progress(0.5)
        ekiben.progress(message="half", tokens=3, loss=0.5)
        ekiben.log("half é", level="warning")
        here = ekiben.current()
        return {"task": here.task_id, "attempt": here.attempt, "endpoint": here.endpoint, "headers": dict(here.headers),
                "timeout": here.timeout, "canceled": ekiben.canceled()}
    """
    with Worker.of(source) as worker:
        attempt = worker.run("work", attempt=3, headers=[["Accept-Language", "de"]])
        said = [worker.hear() for _ in range(4)]
        assert said[0].header == {"type": "progress", "id": attempt, "fraction": 0.5}
        more = {"message": "half", "counters": {"tokens": 3, "loss": 0.5}}
        assert said[1].header == {"type": "progress", "id": attempt, **more}
        assert said[2].header == {"type": "log", "id": attempt, "level": "warning", "message": "half é"}
        assert json.loads(said[3].body) == {
            "task": "0" * 32,
            "attempt": 3,
            "endpoint": "work",
            "headers": {"accept-language": "de"},
            "timeout": 60.0,
            "canceled": False,
        }


def test_a_thread_of_the_task_may_speak_until_the_task_has_ended() -> None:
    source = """
    import contextvars, threading, time

    def chatter() -> None:
        while True:
            ekiben.log("still here")
            time.sleep(0.0001)

    @ekiben.task
    def work() -> None:
        threading.Thread(target=contextvars.copy_context().run, args=[chatter], daemon=True).start()
        time.sleep(0.05)

    @ekiben.task
    def rest() -> None:
        time.sleep(0.05)
    """
    with Worker.of(source) as worker:
        attempt = worker.run("work")
        heard = [worker.hear()]
        while heard[-1].type == "log":
            heard.append(worker.hear())
        assert len(heard) > 2 and heard[-1].type == "done"
        assert {said.header["id"] for said in heard} == {attempt}
        assert worker.call("rest") is None


def test_what_is_printed_never_reaches_the_channel() -> None:
    source = """
    @ekiben.task
    def chatter() -> str:
        print("no line break", end="")
        print("x" * 100_000)
        print("to the end", end="")
        return "done"
    """
    with Worker.of(source) as worker:
        assert worker.call("chatter") == "done"
        assert worker.log().startswith("no line breakxxx") and worker.log().endswith("to the end")


def test_generators_are_collected() -> None:
    source = """
    from typing import Iterator, AsyncIterator

    @ekiben.task
    def words() -> Iterator[str]:
        yield "a"
        yield "b"

    @ekiben.task
    def numbers() -> Iterator[int]:
        yield from range(3)

    @ekiben.task
    async def pieces() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    @ekiben.task
    def nothing():
        yield from ()
    """
    with Worker.of(source) as worker:
        assert [worker.call("words"), worker.call("numbers"), worker.call("pieces")] == ["ab", [0, 1, 2], "12"]
        assert worker.call("nothing") == []


def test_large_bodies_pass_both_ways() -> None:
    source = """
    @ekiben.task(root_input=True)
    def back(data: bytes) -> bytes:
        return data[::-1]
    """
    data = os.urandom(1 << 20) * 50
    with Worker.of(source) as worker:
        said = worker.ask("back", data, "application/octet-stream")
        assert said.body == data[::-1]


def test_many_headers_pass() -> None:
    with Worker.of(NOOP) as worker:
        worker.run("noop", headers=[["x-long", "x" * 200_000], ["content-type", "application/json"]])
        assert worker.hear().type == "done"


def test_descriptor_3_stays_with_the_worker() -> None:
    source = """
    import subprocess, sys

    @ekiben.task
    def child() -> int:
        return subprocess.run([sys.executable, "-c", "import os; os.fstat(3)"], close_fds=False).returncode
    """
    with Worker.of(source) as worker:
        assert worker.call("child") == 1
        assert "Bad file descriptor" in worker.log()


def test_an_exit_or_the_end_of_the_stream_or_a_sigterm_ends_it_after_what_runs() -> None:
    source = """
    import time

    @ekiben.task
    def slow() -> str:
        ekiben.progress(0)
        time.sleep(0.3)
        return "done"
    """
    for options in [(), ("--threads", "2")]:
        for end in (Worker.tell_to_exit, Worker.hang_up, Worker.terminate):
            with Worker.of(source, *options) as worker:
                worker.run("slow")
                assert worker.hear().type == "progress"
                end(worker)
                assert worker.hear().body == b"done"
                assert worker.exit_code() == 0, worker.log()


def test_a_sigterm_that_does_not_wake_the_main_thread_ends_it_all_the_same() -> None:
    # Here another thread receives it. One that comes just before the main thread goes to sleep looks the same to it.
    source = """
    import signal

    @ekiben.setup
    def main_thread_is_deaf() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    @ekiben.task
    def listen() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    """
    with Worker.of(source, "--threads", "2") as worker:
        worker.call("listen")
        worker.terminate()
        assert worker.exit_code() == 0, worker.log()


def test_an_idle_worker_ends_with_status_0() -> None:
    for source in (NOOP, NOOP.replace("def", "async def")):
        for end in (Worker.hang_up, Worker.terminate):
            with Worker.of(source) as worker:
                end(worker)
                assert worker.exit_code() == 0, worker.log()


def test_a_ctrl_c_is_for_ekiben() -> None:
    with Worker.of(NOOP) as worker:
        worker.process.send_signal(signal.SIGINT)
        assert worker.call("noop") is None


def test_the_command_serves_a_function_a_module_or_a_file(tmp_path: Path) -> None:
    Path(tmp_path, "mine.py").write_text(
        "import ekiben\n"
        "def plain(x: int) -> int: return x + 1\n"
        "@ekiben.task(name='named')\ndef declared(x: int) -> int: return x + 2\n"
        "@ekiben.task\ndef other(x: int) -> int: return x + 3\n"
        "ekiben.serve()\n"  # Without `if __name__`: the command serves all the same.
    )
    expected = {
        "mine:plain": {"plain"},
        "mine:declared": {"named"},
        "mine": {"named", "other"},
        "mine.py": {"named", "other"},
        str(tmp_path / "mine.py:other"): {"other"},
    }
    for target, names in expected.items():
        with Worker(sys.executable, "-m", "ekiben", "worker", target, cwd=str(tmp_path)).ready() as worker:
            assert {task["name"] for task in worker.hello["tasks"]} == names
            assert worker.call(min(names), x=1) in (2, 3, 4)


def test_a_program_that_ekiben_did_not_start_says_how_to(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import ekiben\n" + NOOP + "ekiben.serve()\n")
    environment = {name: value for name, value in os.environ.items() if name != "EKIBEN_PROTOCOL"}
    ran = subprocess.run(
        [sys.executable, str(program)],
        check=False,
        capture_output=True,
        text=True,
        env={**environment, "PYTHONPATH": str(SOURCE)},
    )
    assert ran.returncode == 2
    assert "[endpoints.noop]" in ran.stderr and 'type = "process"' in ran.stderr


def test_a_task_that_cannot_be_served_is_named(tmp_path: Path) -> None:
    source = "import ekiben\nclass Odd: pass\n@ekiben.task\ndef work(x: Odd) -> None: pass\nekiben.serve()\n"
    program = tmp_path / "program.py"
    program.write_text(source)
    with Worker(sys.executable, str(program)) as worker:
        assert worker.hears_the_end()
        assert worker.exit_code() == 1
        assert "task work: parameter x: Odd" in worker.log()
