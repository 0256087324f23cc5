"""A model server for the `http` endpoints of the tests: small real work on each kind of payload.

It keeps every call it gets, to be asked for at /calls, and its endpoint /slow holds each call until one is released.
It knows nothing of tasks.
"""

import asyncio
import base64
import hashlib
import io
import json
import socket

import numpy
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

calls = []
released = asyncio.Semaphore(0)


async def add(request):
    numbers = await request.json()
    return JSONResponse({"sum": numbers["a"] + numbers["b"], "note": numbers.get("note")})


async def rotate(request):
    """An image and, as JSON text in a form field, an angle; a PNG comes back."""
    form = await request.form()
    image = Image.open(io.BytesIO(await form["image"].read()))
    image = image.rotate(json.loads(form.get("angle", "90")), expand=True)
    png = io.BytesIO()
    image.save(png, "png")
    return Response(png.getvalue(), media_type="image/png")


async def uppercase(request):
    """Files, one or more of the same name, or the URL of one, which stands for it; one file comes back."""
    form = await request.form()
    documents = form.getlist("documents")
    texts = [each.encode() if isinstance(each, str) else await each.read() for each in documents]
    headers = {"content-disposition": 'attachment; filename="upper.txt"'}
    return Response(b"".join(texts).upper(), media_type="text/plain", headers=headers)


async def scale(request):
    body = await request.json()
    return JSONResponse((numpy.array(body["matrix"]) * body["factor"]).tolist())


async def shout(request):
    return PlainTextResponse((await request.body()).decode().upper())


async def reverse(request):
    return Response((await request.body())[::-1], media_type="application/octet-stream")


async def digest(request):
    body = await request.body()
    return JSONResponse({"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()})


async def paint(request):
    """A picture of one colour, for the sample of BentoML's documentation."""
    prompt = (await request.json())["prompt"]
    png = io.BytesIO()
    Image.new("RGB", (len(prompt), 8), "teal").save(png, "png")
    return Response(png.getvalue(), media_type="image/png")


async def slow(request):
    await released.acquire()
    return JSONResponse(await request.json())


async def fail(request):
    """Fails with the status asked for, in the words BentoML's servers use for it."""
    status = (await request.json())["status"]
    if status == 400:
        detail = [{"type": "int_parsing", "loc": ["a"], "msg": "Input should be a valid integer"}]
        body = {"error": "1 validation error for Input", "detail": detail}
    elif status in (401, 403):
        body = {"error": "Authorization error"}
    elif status < 500:
        body = [{"error": "bad arg"}]
    else:
        body = {"error": "An unexpected error has occurred, please check the server log."}
    return JSONResponse(body, status)


async def list_calls(_):
    return JSONResponse(calls)


async def forget(_):
    calls.clear()
    return Response()


async def release(_):
    released.release()
    return Response()


def kept(work):
    """Keeps a call before it is answered."""

    async def handle(request):
        body = base64.b64encode(await request.body()).decode()
        calls.append({"path": request.url.path, "headers": dict(request.headers), "body": body})
        return await work(request)

    return handle


WORK = [add, rotate, uppercase, scale, shout, reverse, digest, paint, slow, fail]


def main():
    routes = [Route(f"/{work.__name__}", kept(work), methods=["POST"]) for work in WORK]
    routes += [
        Route("/calls", list_calls),
        Route("/forget", forget, methods=["POST"]),
        Route("/release", release, methods=["POST"]),
    ]
    listener = socket.create_server(("127.0.0.1", 0))
    # A socket that asyncio did not make itself answers 40 ms late without this, on connections that are kept.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print("listening address=%s:%d" % listener.getsockname(), flush=True)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning"))
    asyncio.run(server.serve(sockets=[listener]))


main()
