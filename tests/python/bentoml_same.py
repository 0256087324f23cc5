"""An unmodified client gets through ekiben what it gets straight from the service: argv[1] is ekiben, argv[2] the service.

Values, exceptions, and on the wire status, content type, disposition and every byte of the body.
"""

import asyncio
import io
import json
import sys
import time
from pathlib import Path

import httpx
import numpy as np
from bentoml.exceptions import BentoMLException
from PIL import Image

from clients import answer, open_client, reaches, refused, result, same

THROUGH, STRAIGHT = sys.argv[1:3]


def picture():
    image = Image.new("RGB", (3, 2), (200, 30, 30))
    image.putpixel((0, 0), (0, 0, 255))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


Path("in.png").write_bytes(picture())
Path("in.txt").write_text("grüße\n", encoding="utf-8")

CALLS = {
    "add": {"a": 1, "note": "hé"},
    "rotate": {"image": Path("in.png"), "angle": 90},
    "uppercase": {"document": Path("in.txt")},
    "scale": {"matrix": np.array([[1.0, 2.0], [3.0, 4.5]])},
    "judge": {"review": {"text": "fine", "stars": 4}},
    "shout": {"text": "héllo"},
    "tone": {"seconds": 0.5},
}
FAILURES = [("fail", {"how": "argument"}), ("fail", {"how": "bug"}), ("add", {"a": "not a number"})]


def comparable(value):
    if isinstance(value, Path):
        # A file comes under a temporary name that ends with its own.
        assert value.name.endswith("upper.txt"), value
        return value.read_bytes()
    if isinstance(value, Image.Image):
        return value.format, value.size, value.tobytes()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


async def clients_agree(through, straight):
    for name, arguments in CALLS.items():
        wanted = comparable(await answer(getattr(straight, name)(**arguments)))
        same(comparable(await answer(getattr(through, name)(**arguments))), wanted)
        task = await answer(getattr(through, name).submit(**arguments))
        same(comparable(await result(task)), wanted)
    for name, arguments in FAILURES:
        wanted = await refused(getattr(straight, name), **arguments)
        got = await refused(getattr(through, name), **arguments)
        same((type(got), got.error_code, str(got)), (type(wanted), wanted.error_code, str(wanted)))
        tasks = [await answer(getattr(client, name).submit(**arguments)) for client in (through, straight)]
        for task in tasks:
            await reaches(task, "failed")
        got, wanted = [await refused(task.get) for task in tasks]
        assert isinstance(got, BentoMLException)
        same((type(got), got.error_code, str(got)), (type(wanted), wanted.error_code, str(wanted)))


REQUESTS = [
    ("add", {"json": {"a": 1, "b": 5}}),
    ("add", {"json": {"a": "x"}}),
    ("add", {"content": b"{", "headers": {"content-type": "application/json"}}),
    ("rotate", {"files": {"image": ("in.png", picture(), "image/png")}, "data": {"angle": "180"}}),
    ("uppercase", {"files": {"document": ("in.txt", b"some text\n", "text/plain")}}),
    ("scale", {"json": {"matrix": [[1.5]], "factor": 3}}),
    ("judge", {"json": {"review": {"text": "t"}}}),
    ("shout", {"json": {"text": "héllo"}}),
    ("count", {"json": {"to": 3}}),
    ("tone", {"json": {"seconds": 2}}),
    ("fail", {"json": {"how": "argument"}}),
    ("fail", {"json": {"how": "bug"}}),
]


def visible(response):
    headers = [response.headers.get(name) for name in ("content-type", "content-disposition")]
    return response.status_code, headers, response.content


def bytes_agree():
    with httpx.Client(trust_env=False, timeout=30) as http:
        for name, request in REQUESTS:
            wanted = visible(http.post(f"{STRAIGHT}/{name}", **request))
            same(visible(http.post(f"{THROUGH}/{name}", **request)), wanted)
            task = http.post(f"{THROUGH}/{name}/submit", **request).raise_for_status().json()["task_id"]
            while True:
                status = http.get(f"{THROUGH}/{name}/status", params={"task_id": task}).json()["status"]
                if status in ("completed", "failed"):
                    break
                time.sleep(0.01)
            same(visible(http.get(f"{THROUGH}/{name}/get", params={"task_id": task})), wanted)


def schemas_agree():
    ours, theirs = [
        {route["name"]: route for route in httpx.get(f"{url}/schema.json", trust_env=False).json()["routes"]}
        for url in (THROUGH, STRAIGHT)
    ]
    same(set(ours), set(theirs))
    for name, route in theirs.items():
        for key in ("input", "output"):
            # As text: the order of an input's properties is that of a call's arguments.
            same(json.dumps(ours[name][key]), json.dumps(route[key]))
        same(ours[name]["is_task"], True)


async def with_both(kind):
    async with open_client(kind, THROUGH) as through, open_client(kind, STRAIGHT) as straight:
        await clients_agree(through, straight)


schemas_agree()
bytes_agree()
for kind in ("sync", "async"):
    print(f"the {kind} client", flush=True)
    asyncio.run(with_both(kind))
