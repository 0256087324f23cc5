"""Retry: a new task with the input of an old one."""

import pathlib
import tempfile

from bentoml.exceptions import InvalidArgument
from PIL import Image

from clients import answer, is_id, reaches, refused, result, run, same, status, word


async def scenario(client, upstream):
    await an_upload_is_sent_again_byte_for_byte(client, upstream)
    await only_what_is_over_can_be_retried(client, upstream)
    await a_failed_task_fails_again(client, upstream)


async def an_upload_is_sent_again_byte_for_byte(client, upstream):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "in.png")
        Image.new("RGB", (30, 20), "red").save(path)
        task = await answer(client.rotate.submit(image=path))
    same((await result(task)).size, (20, 30))

    again = await answer(task.retry())
    assert is_id(again.id) and again.id != task.id, again.id
    same((await result(again)).size, (20, 30))
    first, second = upstream.calls("/rotate")
    same(second.body, first.body)
    same(second.headers["content-type"], first.headers["content-type"])


async def only_what_is_over_can_be_retried(client, upstream):
    running = await answer(client.slow.submit(name="running"))
    await upstream.gets("/slow", 1)
    refusal = await refused(running.retry)
    same(type(refusal), InvalidArgument)
    assert f"task {running.id} is not completed yet" in str(refusal), refusal

    canceled = await answer(client.slow.submit(name="canceled"))
    await answer(canceled.cancel())
    again = await answer(canceled.retry())
    upstream.release()
    upstream.release()
    same(await result(again), {"name": "canceled"})
    same(await status(canceled), word("canceled"))
    await reaches(running, "completed")


async def a_failed_task_fails_again(client, upstream):
    task = await answer(client.fail.submit(status=422))
    await reaches(task, "failed")
    again = await answer(task.retry())
    await reaches(again, "failed")
    same(len(upstream.calls("/fail")), 2)


run(scenario)
