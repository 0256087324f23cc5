"""Between our requests and httpx's, for both clients."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .options import Seconds, seconds_of
from .wire import Answer, ConnectionLost, Request

DEFAULT_SERVER = "http://127.0.0.1:3000"


@dataclass(frozen=True)
class Settings:
    """What a client was made with."""

    server: str
    timeout: float
    headers: Mapping[str, str]

    @classmethod
    def of(cls, server: str | None, timeout: Seconds, headers: Mapping[str, str] | None) -> Settings:
        """The settings; what is not given comes from the environment, or is the default."""
        server = server or os.environ.get("EKIBEN_SERVER") or DEFAULT_SERVER
        if not server.startswith(("http://", "https://")):
            raise ValueError(f"the server is given as an address such as {DEFAULT_SERVER}, not {server!r}")
        seconds = seconds_of(timeout)
        if not seconds > 0:
            raise ValueError(f"timeout is more than 0 seconds, not {timeout!r}")
        return cls(server.rstrip("/"), seconds, headers or {})

    def arguments(self) -> dict[str, Any]:
        """What httpx's client is made with. There is no bound to its connections but how many calls are made at once."""
        return {
            "headers": {"user-agent": "ekiben-python", "accept": "application/json", **self.headers},
            "timeout": self.timeout,
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
        }


def prepared(request: Request, settings: Settings) -> dict[str, Any]:
    """The arguments of httpx's `build_request`, all but the content."""
    # As bytes, since httpx takes text for ASCII.
    headers = {name.encode(): value.encode() for name, value in request.headers.items()}
    if request.body is not None:
        headers[b"content-type"] = request.body.content_type.encode()
        if request.body.length is not None:
            headers[b"content-length"] = str(request.body.length).encode()
    patient = settings.timeout + request.patience
    timeout = httpx.Timeout(settings.timeout, read=patient, write=patient)
    url = settings.server + request.path
    params = list(request.query) or None
    return {"method": request.method, "url": url, "params": params, "headers": headers, "timeout": timeout}


def answer_of(response: httpx.Response, body: bytes) -> Answer:
    """An answer, with what was read of its body."""
    return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def lost(error: httpx.TransportError) -> ConnectionLost:
    """What an error of the connection means. Raises it if it is of another kind, and no try would help."""
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        raise error
    never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return ConnectionLost(str(error) or type(error).__name__, sent=not never_sent)
