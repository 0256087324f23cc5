"""What the package itself makes of files of its own environment: the vector its model is given, the label and the score.

Run with the path of a file to write: JSON with the path of the model, its labels in the order of its output, and fifty
files of as many kinds as there are.
"""

import json
import sys
from itertools import chain, zip_longest
from pathlib import Path

import magika

FILES = 50


class Session:
    """The package's session, which remembers what it was given last."""

    def __init__(self, session):
        self.session = session
        self.vector = None

    def run(self, outputs, inputs):
        [self.vector] = inputs["bytes"]
        return self.session.run(outputs, inputs)


def candidates():
    """The files beside the package, those of each ending in turn."""
    endings = {}
    for path in sorted(Path(magika.__file__).parent.parent.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            endings.setdefault(path.suffix, []).append(path)
    rounds = zip_longest(*endings.values())
    return (path for path in chain.from_iterable(rounds) if path is not None)


def main():
    package = magika.Magika()
    session = package._onnx_session = Session(package._onnx_session)
    files = []
    for path in candidates():
        session.vector = None
        prediction = package.identify_path(path).prediction
        # A file of a few bytes is judged without the model.
        if session.vector is not None:
            vector = [int(number) for number in session.vector]
            files.append({"path": str(path), "vector": vector, "label": prediction.dl.label, "score": prediction.score})
        if len(files) == FILES:
            break
    found = {"model": str(package._model_path), "labels": package._target_labels_space, "files": files}
    Path(sys.argv[1]).write_text(json.dumps(found))


main()
