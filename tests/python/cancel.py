"""Cancel of a task that waits for a slot, and of one that has started."""

import json

from clients import answer, reaches, refused, run, same, status, word


async def scenario(client, upstream):
    running = await answer(client.slow.submit(name="the only slot"))
    await upstream.gets("/slow", 1)
    waiting = await answer(client.slow.submit(name="never"))
    same(await status(waiting), word("pending"))

    await answer(waiting.cancel())
    same(await status(waiting), word("canceled"))
    refusal = await refused(waiting.get)
    same(refusal.error_code, 409)
    assert f"task {waiting.id} was canceled" in str(refusal), refusal
    # Canceled already is as good as canceled.
    await answer(waiting.cancel())

    refusal = await refused(running.cancel)
    same(refusal.error_code, 409)
    assert f"task {running.id} has already started" in str(refusal), refusal

    upstream.release()
    await reaches(running, "completed")
    same((await refused(running.cancel)).error_code, 409)

    # The slot is free; a task submitted now is the next to come, and the canceled one never does.
    last = await answer(client.slow.submit(name="after"))
    upstream.release()
    await reaches(last, "completed")
    names = [json.loads(call.body)["name"] for call in upstream.calls("/slow")]
    same(names, ["the only slot", "after"])


run(scenario)
