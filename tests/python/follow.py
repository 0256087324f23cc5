"""A task from its submission to its result."""

from bentoml.exceptions import InvalidArgument, NotFound

from clients import answer, is_id, reaches, refused, result, run, same, status, word


async def scenario(client, upstream):
    task = await answer(client.slow.submit(name="one"))
    assert is_id(task.id), task.id

    await upstream.gets("/slow", 1)
    await reaches(task, "in_progress")
    refusal = await refused(task.get)
    same(type(refusal), InvalidArgument)
    same(refusal.error_code, 400)
    assert f"task {task.id} is not completed yet" in str(refusal), refusal

    upstream.release()
    same(await result(task), {"name": "one"})
    same(await status(task), word("completed"))
    # A result is there to be fetched more than once, and by its id alone.
    same(await answer(client.slow.get(task.id)), {"name": "one"})
    same((await answer(client.slow.get_status(task.id))).value, word("completed"))

    for unknown in ("0" * 32, "no-id-at-all"):
        for verb in (client.slow.get_status, client.slow.get, client.slow.cancel, client.slow.retry):
            refusal = await refused(verb, unknown)
            same(type(refusal), NotFound)
            assert "task_id not found" in str(refusal), refusal


run(scenario)
