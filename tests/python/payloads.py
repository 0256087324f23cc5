"""Every kind of input and output, as a task and as a plain call."""

import hashlib
import json
import pathlib
import tempfile

import numpy
from PIL import Image

from clients import answer, is_sync, result, run, same

TOKEN = "for the service alone"


async def both_ways(endpoint, *args, **kwargs):
    """The result of a task, and then that of a call that waits. Files are given by path, as both are to read them."""
    yield await result(await answer(endpoint.submit(*args, **kwargs)))
    yield await answer(endpoint(*args, **kwargs))


async def scenario(client, upstream):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        await json_in_and_out(client, upstream)
        await an_image(client, upstream, folder)
        await files(client, upstream, folder)
        await a_file_by_its_url(client, upstream)
        await a_tensor(client, upstream)
        await a_text_as_the_whole_body(client, upstream)
        await bytes_as_the_whole_body(client, upstream)
        # AsyncHTTPClient cannot send such a file to anybody: it gives httpx an iterator that is not asynchronous.
        if is_sync(client):
            await a_file_as_the_whole_body(client, upstream, folder)


async def json_in_and_out(client, upstream):
    note = "h\u00e9llo \U0001f371"
    async for got in both_ways(client.add, 1, b=2, note=note):
        same(got, {"sum": 3, "note": note})
    for call in upstream.calls("/add"):
        same(call.headers["content-type"], "application/json")
        same(json.loads(call.body), {"a": 1, "b": 2, "note": note})
        assert TOKEN not in str(call.headers), "the submitter's credentials reached the upstream"


async def an_image(client, upstream, folder):
    path = folder / "in.png"
    picture = Image.effect_noise((30, 20), 50)
    picture.save(path)
    async for got in both_ways(client.rotate, path, angle=180):
        same((got.format, got.size), ("PNG", (30, 20)))
        same(got.tobytes(), picture.rotate(180).tobytes())
    # An image that was opened is sent from its file, and may be sent once.
    got = await result(await answer(client.rotate.submit(image=Image.open(path))))
    same(got.size, (20, 30))
    for call in upstream.calls("/rotate"):
        assert path.read_bytes() in call.body, "the image came changed"


async def files(client, upstream, folder):
    one, two = folder / "one.txt", folder / "zw\u00f6lf.txt"
    one.write_bytes(b"first\r\n")
    two.write_bytes(b"second\x00\xff")
    async for got in both_ways(client.uppercase, documents=[one, two]):
        same(got.read_bytes(), b"FIRST\r\nSECOND\x00\xff")
        assert got.name.endswith("upper.txt"), got


async def a_file_by_its_url(client, upstream):
    """The client sends the URL in a form without files, and leaves the fetching to the upstream."""
    async for got in both_ways(client.uppercase, documents="http://example.com/x.txt"):
        same(got.read_bytes(), b"HTTP://EXAMPLE.COM/X.TXT")
    call = upstream.calls("/uppercase")[-1]
    same(call.headers["content-type"], "application/x-www-form-urlencoded")
    same(call.body, b"documents=http%3A%2F%2Fexample.com%2Fx.txt")


async def a_tensor(client, upstream):
    matrix = numpy.arange(6, dtype=numpy.float64).reshape(2, 3)
    async for got in both_ways(client.scale, matrix=matrix, factor=0.5):
        assert isinstance(got, numpy.ndarray), type(got)
        same((got.dtype, got.tolist()), (numpy.float64, (matrix * 0.5).tolist()))


async def a_text_as_the_whole_body(client, upstream):
    text = "h\u00e9llo,\n  \"world\" \U0001f371\n"
    async for got in both_ways(client.shout, text):
        same(got, text.upper())
    for call in upstream.calls("/shout"):
        same((call.headers["content-type"], call.body), ("text/plain", text.encode()))


async def bytes_as_the_whole_body(client, upstream):
    data = bytes(range(256))
    async for got in both_ways(client.reverse, data):
        same(got, data[::-1])
    same([call.body for call in upstream.calls("/reverse")], [data, data])


async def a_file_as_the_whole_body(client, upstream, folder):
    path = folder / "large.pdf"
    path.write_bytes(bytes(range(256)) * 4096)
    wanted = {"bytes": 1 << 20, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    async for got in both_ways(client.digest, path):
        same(got, wanted)
    same([call.headers["content-type"] for call in upstream.calls("/digest")], ["application/pdf"] * 2)


run(scenario, token=TOKEN)
