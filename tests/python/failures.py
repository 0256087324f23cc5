"""What the upstream's failures look like to a client: a failed task, and the upstream's own answer as an exception."""

from bentoml.exceptions import (
    BentoMLException,
    InvalidArgument,
    NotFound,
    ServiceUnavailable,
    UnprocessableEntity,
)

from clients import answer, reaches, refused, run, same

UNEXPECTED = '{"error":"An unexpected error has occurred, please check the server log."}'

# The upstream's status, what the client makes of it, its status there, and the text it shows.
FAILURES = [
    (400, InvalidArgument, 400, "1 validation error for Input"),
    (401, BentoMLException, 401, '{"error":"Authorization error"}'),
    (404, NotFound, 404, '[{"error":"bad arg"}]'),
    (418, BentoMLException, 418, '[{"error":"bad arg"}]'),
    (422, UnprocessableEntity, 422, '[{"error":"bad arg"}]'),
    (500, BentoMLException, 500, UNEXPECTED),
    (503, ServiceUnavailable, 503, "answered 503 Service Unavailable"),
    # A number that Python does not know would be a ValueError in the client, so it comes as 502.
    (599, BentoMLException, 502, UNEXPECTED),
]


async def scenario(client, upstream):
    for status, kind, shown, text in FAILURES:
        task = await answer(client.fail.submit(status=status))
        await reaches(task, "failed")
        for refusal in (await refused(task.get), await refused(client.fail, status=status)):
            same((type(refusal), refusal.error_code), (kind, shown))
            assert text in str(refusal), refusal

    task = await answer(client.unreachable.submit())
    await reaches(task, "failed")
    refusal = await refused(task.get)
    same((type(refusal), refusal.error_code), (ServiceUnavailable, 503))


run(scenario)
