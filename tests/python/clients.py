"""What the scripts beside this one share: BentoML's own clients, unmodified, and a view of the upstream.

A script is run with the URL of the service and, where it needs one, that of the upstream. It plays its scenario with
the sync client and then with the async one, and fails with a traceback.
"""

import asyncio
import base64
import contextlib
import dataclasses
import inspect
import re
import sys
import time

import bentoml
import httpx
from bentoml.exceptions import BentoMLException

PATIENCE = 30.0

# Below this version the client knows the old status words only, and cannot tell a waiting task from a running one.
OLD = tuple(int(part) for part in bentoml.__version__.split(".")[:3]) < (1, 4, 14)
OLD_WORDS = {
    "pending": "in_progress",
    "in_progress": "in_progress",
    "completed": "success",
    "failed": "failure",
    "canceled": "cancelled",
}


def word(state):
    """What this client's generation calls a state."""
    return OLD_WORDS[state] if OLD else state


def same(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


async def answer(call):
    """The answer of either client: a value from the sync one, an awaitable from the async one."""
    return await call if inspect.isawaitable(call) else call


async def refused(call, *args, **kwargs):
    """The exception a call raises."""
    try:
        got = await answer(call(*args, **kwargs))
    except BentoMLException as refusal:
        return refusal
    raise AssertionError(f"not refused, but answered {got!r}")


async def status(task):
    return (await answer(task.get_status())).value


async def reaches(task, state):
    """Waits until the task has the state; another final one is an error at once."""
    final = {word(each) for each in ("completed", "failed", "canceled")}
    async for _ in attempts():
        got = await status(task)
        if got == word(state):
            return
        assert got not in final, f"the task is {got}, wanted {word(state)}"
    raise AssertionError(f"the task is still {got}, wanted {word(state)}")


async def result(task):
    await reaches(task, "completed")
    return await answer(task.get())


async def attempts():
    """As many turns as there is patience for, with a short pause between two."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield
        await asyncio.sleep(0.01)


@dataclasses.dataclass
class Call:
    """A request as the upstream got it."""

    path: str
    headers: dict
    body: bytes


class Upstream:
    """The upstream's side: which calls came, and the release of those it holds back."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, trust_env=False)

    def forget(self):
        self.http.post("/forget").raise_for_status()

    def release(self):
        """Lets one call of /slow go on."""
        self.http.post("/release").raise_for_status()

    def calls(self, path):
        calls = self.http.get("/calls").raise_for_status().json()
        calls = [Call(each["path"], each["headers"], base64.b64decode(each["body"])) for each in calls]
        return [call for call in calls if call.path == path]

    async def gets(self, path, count):
        """Waits until it got so many calls."""
        async for _ in attempts():
            calls = self.calls(path)
            if len(calls) >= count:
                return calls
        raise AssertionError(f"{len(calls)} calls of {path}, wanted {count}")


@contextlib.asynccontextmanager
async def open_client(kind, url, **options):
    if kind == "sync":
        with bentoml.SyncHTTPClient(url, **options) as client:
            # SyncHTTPClient 1.4.30 to 1.4.40 misses this attribute in submit(), against BentoML's own server too.
            if not hasattr(client, "_opened_files"):
                client._opened_files = []
            yield client
    else:
        async with bentoml.AsyncHTTPClient(url, **options) as client:
            yield client


def is_sync(client):
    return isinstance(client, bentoml.SyncHTTPClient)


def is_id(text):
    return re.fullmatch("[0-9a-f]{32}", text) is not None


def run(scenario, **options):
    """Plays the scenario with both clients."""

    async def play(kind):
        async with open_client(kind, sys.argv[1], **options) as client:
            if len(sys.argv) > 2:
                upstream = Upstream(sys.argv[2])
                upstream.forget()
                await scenario(client, upstream)
            else:
                await scenario(client)

    for kind in ("sync", "async"):
        print(f"{kind} client of bentoml {bentoml.__version__}", flush=True)
        asyncio.run(play(kind))
