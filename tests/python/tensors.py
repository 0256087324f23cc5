"""NumPy arrays to a model in the service and back: its schema tells the clients that they are arrays."""

import json
import sys
from pathlib import Path

import numpy

from clients import answer, result, run, same

# What `magika_vectors.py` wrote; a second argument that is left would be the upstream's URL.
FOUND = json.loads(Path(sys.argv.pop()).read_text())


async def scenario(client):
    file = FOUND["files"][0]
    vector = numpy.array([file["vector"]], dtype="int32")
    task = await answer(client.file_type.submit(bytes=vector))
    called = await answer(client.file_type(bytes=vector))
    for given in (await result(task), called):
        scores = given["target_label"]
        same((type(scores), scores.dtype.name, scores.shape), (numpy.ndarray, "float32", (1, len(FOUND["labels"]))))
        same(FOUND["labels"][int(scores.argmax())], file["label"])


run(scenario)
