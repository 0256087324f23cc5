"""A worker with a real model: tells what kind of file the body is, as slowly as a somewhat larger model would."""

import time

import ekiben
from magika import Magika

magika = Magika()


@ekiben.task(root_input=True)
def classify(data: bytes) -> str:
    """The label of the kind of file."""
    time.sleep(0.02)
    return str(magika.identify_bytes(data).output.label)


if __name__ == "__main__":
    ekiben.serve()
