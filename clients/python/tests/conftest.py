"""What the tests of the client share: one server, and both clients in one form."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ekiben_server import Server


class Awaited:
    """An AsyncClient whose calls are awaited elsewhere, so that one test is for both clients."""

    def __init__(self, client: Any, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            made = method(*arguments, **options)
            return self._iterate(made) if hasattr(made, "__anext__") else self._portal.call(lambda: made)

        return call

    def _iterate(self, made: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._portal.call(made.__anext__)
                except StopAsyncIteration:
                    return
        finally:
            # One that was left half gone through may end after the portal.
            with contextlib.suppress(RuntimeError):
                self._portal.call(made.aclose)


class Clients:
    """Makes clients of one kind, and closes them."""

    def __init__(self, kind: str, portal: BlockingPortal) -> None:
        self._kind = kind
        self._portal = portal
        self._made: list[Any] = []

    def __call__(self, url: str, **settings: Any) -> Any:
        from ekiben import AsyncClient, Client

        blocking = self._kind == "blocking"
        client: Any = Client(url, **settings) if blocking else Awaited(AsyncClient(url, **settings), self._portal)
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            client.close()


@pytest.fixture(scope="session")
def common_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def server(common_server: Server) -> Iterator[Server]:
    """A server for all tests that leave it as it was."""
    yield common_server
    common_server.open_gates()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server of the test's own, to be killed or to be filled."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(params=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest, portal: BlockingPortal) -> Iterator[Clients]:
    clients = Clients(request.param, portal)
    yield clients
    clients.close()


@pytest.fixture
def client(connect: Clients, server: Server) -> Any:
    return connect(server.url)
