"""Forms: multipart/form-data and application/x-www-form-urlencoded, taken apart into fields.

Parts are views of the body, not copies: a form may carry large files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Union
from urllib.parse import parse_qsl, unquote

from .channel import Bytes
from .errors import BadInput


@dataclass
class Upload:
    """A file of a form, or a whole body that stands for a file."""

    data: Bytes
    filename: str | None = None
    content_type: str | None = None


Field = Union[str, Upload]
Form = dict[str, list[Field]]

_PARAMETER = re.compile(r';\s*([\w*!-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')


def parse_urlencoded(body: Bytes) -> Form:
    """The fields of a form as a browser sends it without files."""
    form: Form = {}
    for name, value in parse_qsl(bytes(body).decode("utf-8", "replace"), keep_blank_values=True):
        form.setdefault(name, []).append(value)
    return form


def parse_multipart(body: Bytes, content_type: str) -> Form:
    """The fields of a form with files. A part with a file name is an Upload, any other a text."""
    boundary = parameters(content_type).get("boundary")
    if not boundary:
        raise BadInput("the content type multipart/form-data lacks its boundary")
    form: Form = {}
    for start, end in _parts(body, b"--" + boundary.encode("latin-1", "replace")):
        name, field = _part(body, start, end)
        form.setdefault(name, []).append(field)
    return form


def parameters(header: str) -> dict[str, str]:
    """The parameters of a header: `form-data; name="a"` has a name."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(header):
        found[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted else plain.strip()
    return found


def _parts(body: Bytes, delimiter: bytes) -> list[tuple[int, int]]:
    """Where each part begins and ends, headers included."""
    data = body if not isinstance(body, memoryview) else bytes(body)
    position = 0 if data.startswith(delimiter) else data.find(b"\r\n" + delimiter) + 2
    if position == 1:
        raise BadInput("the body is not the multipart/form-data that its content type promises")
    parts: list[tuple[int, int]] = []
    while True:
        start = position + len(delimiter)
        if data[start : start + 2] == b"--":
            return parts
        start = data.find(b"\r\n", start) + 2
        # The first delimiter may follow the headers at once, so the line break before it may be the one just passed.
        end = data.find(b"\r\n" + delimiter, start - 2)
        if start == 1 or end == -1:
            raise BadInput("the multipart/form-data ends before its last boundary")
        parts.append((start, end))
        position = end + 2


def _part(body: Bytes, start: int, end: int) -> tuple[str, Field]:
    data = body if not isinstance(body, memoryview) else bytes(body)
    blank = data.find(b"\r\n\r\n", start, end)
    if blank == -1:
        raise BadInput("a part of the multipart/form-data has no headers")
    headers = _headers(bytes(data[start:blank]).decode("utf-8", "replace"))
    disposition = parameters(headers.get("content-disposition", ""))
    if "name" not in disposition:
        raise BadInput("a part of the multipart/form-data has no name")
    content = memoryview(body)[blank + 4 : end]
    filename = _filename(disposition)
    if filename is None:
        return disposition["name"], content.tobytes().decode("utf-8", "replace")
    return disposition["name"], Upload(content, filename, headers.get("content-type"))


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in text.split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _filename(disposition: dict[str, str]) -> str | None:
    extended = disposition.get("filename*")
    if extended is not None and extended.lower().startswith("utf-8''"):
        return unquote(extended[7:])
    return disposition.get("filename")
