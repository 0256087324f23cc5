"""What goes in and comes out: every kind of input, in every form that clients send, and every kind of result."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from ekiben_harness import Said, Worker, multipart

WORKER = """
import dataclasses, datetime, enum, typing, uuid
from pathlib import Path
import numpy, numpy.typing, pydantic
import PIL.Image

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

@dataclasses.dataclass
class Point:
    x: int
    y: float = 1.5

class Box(pydantic.BaseModel):
    width: int = pydantic.Field(ge=1)
    label: str = "é"

class Line(typing.TypedDict):
    start: Point
    end: Point

@ekiben.task
def scalars(a: int, b: float = 1.0, c: str = "x", d: bool = False, e: bytes = b"") -> str:
    return repr((a, b, c, d, e))

@ekiben.task
def containers(a: list[int], b: dict[str, float] = {}, c: typing.Optional[tuple[int, str]] = None,
               d: typing.Literal["x", "y"] = "x", e: Color = Color.RED, f: typing.Union[int, str, None] = None) -> str:
    return repr((a, b, c, d, e, f))

@ekiben.task
def classes(point: Point, line: typing.Optional[Line] = None, when: typing.Optional[datetime.datetime] = None) -> str:
    return repr((point, line, when))

@ekiben.task
def model(box: Box, boxes: list[Box] = []) -> Box:
    assert isinstance(box, Box)
    return box

@ekiben.task
def limited(count: int = pydantic.Field(default=3, ge=1)) -> int:
    return count

@ekiben.task
def double(array: numpy.ndarray) -> numpy.ndarray:
    return array * 2

@ekiben.task
def shaped(array: typing.Annotated[numpy.ndarray, ekiben.DType("float32"), ekiben.Shape((2, 2))]) -> str:
    return f"{array.dtype} {array.shape}"

@ekiben.task
def rotate(image: PIL.Image.Image, angle: int = 90) -> PIL.Image.Image:
    return image.rotate(angle, expand=True)

@ekiben.task
def sizes(images: list[PIL.Image.Image]) -> list:
    return [image.size for image in images]

@ekiben.task
def upper(file: Path, suffix: str = "") -> Path:
    out = ekiben.current().folder / (file.stem + "-upper" + file.suffix)
    out.write_bytes(file.read_bytes().upper() + suffix.encode())
    return out

@ekiben.task
def names(files: list[Path], extra: typing.Optional[Path] = None) -> list:
    return [path.name for path in files] + [str(extra)]

@ekiben.task
def shout(text: str, /) -> str:
    return text.upper()

@ekiben.task(root_input=True)
def reverse(data: bytes) -> bytes:
    return data[::-1]

@ekiben.task
def size(image: PIL.Image.Image, /) -> list:
    return list(image.size)

@ekiben.task
def contents(file: Path, /) -> str:
    return file.read_text()

@ekiben.task
def root_model(box: Box, /) -> int:
    return box.width

@ekiben.task
def root_list(items: list[int], /) -> int:
    return sum(items)

@ekiben.task
def defaulted(number: int = 4, /) -> int:
    return number

@ekiben.task
def gathered(a: int, b: int = 9, *args: int, **kwargs: str) -> str:
    return repr((a, b, args, kwargs))

def result(value, annotation):
    def give():
        return value
    give.__annotations__["return"] = annotation
    return give

RESULTS = {
    "none": (None, None), "number": (float, 1e22), "string": (str, "hé"), "nothing": (str, ""), "data": (bytes, b"\\xff\\0"),
    "dictionary": (dict, {"a": 1, "é": {"k": "ö"}}), "items": (list, [1, {"a": 1}]), "box": (Box, Box(width=1)),
    "boxes": (typing.List[Box], [Box(width=1), Box(width=2)]), "loose_box": (typing.Any, Box(width=3)),
    "point": (Point, Point(1, 2.0)), "array": (numpy.ndarray, numpy.array([[1, 2], [3, 4]])),
    "gaps": (numpy.ndarray, numpy.array([1.5, float("nan")])), "in_dictionary": (dict, {"a": numpy.float32(1.5)}),
    "pair": (typing.Tuple[int, str], (1, "a")), "set": (typing.Set[int], {1}), "color": (Color, Color.BLUE),
    "loose_string": (typing.Any, "hé"), "optional": (typing.Optional[str], "x"), "loose_data": (typing.Any, b"x"),
    "audio": (typing.Annotated[bytes, ekiben.ContentType("audio/mpeg")], b"x"),
    "moment": (datetime.datetime, datetime.datetime(2026, 1, 2, 3, 4, 5)), "wrong": (str, 5),
    "no_file": (Path, Path("/nowhere")), "loose_image": (typing.Any, PIL.Image.new("RGB", (2, 2))),
}
for name, (annotation, value) in RESULTS.items():
    ekiben.task(name="give_" + name)(result(value, annotation))
"""


@pytest.fixture(scope="module")
def worker() -> Any:
    with Worker.of(WORKER) as started:
        yield started


def png(size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def form(worker: Worker, task: str, *parts: tuple[str, Any]) -> Said:
    return worker.ask(task, *multipart(*parts))


@pytest.mark.parametrize(
    ("task", "arguments", "seen"),
    [
        ("scalars", {"a": 1}, (1, 1.0, "x", False, b"")),
        ("scalars", {"a": "5", "b": 2, "d": "yes", "e": "é"}, (5, 2.0, "x", True, "é".encode())),
        ("scalars", {"a": 5.0, "b": "2.5", "d": 1}, (5, 2.5, "x", True, b"")),
        ("containers", {"a": [1, "2"]}, "([1, 2], {}, None, 'x', <Color.RED: 'red'>, None)"),
        (
            "containers",
            {"a": [], "b": {"k": 1}, "c": [1, "s"], "d": "y", "e": "blue", "f": "5"},
            "([], {'k': 1.0}, (1, 's'), 'y', <Color.BLUE: 'blue'>, '5')",
        ),
        ("classes", {"point": {"x": 1}}, "(Point(x=1, y=1.5), None, None)"),
        (
            "classes",
            {"point": {"x": 1}, "line": {"start": {"x": 1}, "end": {"x": 2, "y": 3}}, "when": "2026-01-02T03:04:05Z"},
            "(Point(x=1, y=1.5), {'start': Point(x=1, y=1.5), 'end': Point(x=2, y=3.0)}, "
            "datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc))",
        ),
        ("gathered", {"a": 1, "args": [2, 3], "kwargs": {"k": "v"}}, (1, 9, (2, 3), {"k": "v"})),
        ("gathered", {"a": 1}, (1, 9, (), {})),
        ("shaped", {"array": [1, 2, 3, 4]}, "float32 (2, 2)"),
        ("model", {"box": {"width": 2}}, {"width": 2, "label": "é"}),
        ("limited", {}, 3),
        ("double", {"array": [[1, 2.5]]}, [[2, 5.0]]),
    ],
)
def test_json_becomes_arguments(worker: Worker, task: str, arguments: dict[str, Any], seen: Any) -> None:
    assert worker.call(task, **arguments) == (repr(seen) if isinstance(seen, tuple) else seen)


@pytest.mark.parametrize(
    ("task", "body", "message"),
    [
        ("scalars", "{}", 'argument "a" is missing'),
        ("scalars", "", 'argument "a" is missing'),
        ("scalars", '{"a": "x"}', 'argument "a": expected an integer, got a string'),
        ("scalars", '{"a": 5.5}', 'argument "a": expected an integer, got a number with a fractional part'),
        ("scalars", '{"a": null}', 'argument "a": expected an integer, got null'),
        ("scalars", '{"a": 1, "c": 5}', 'argument "c": expected a string, got a number'),
        ("scalars", '{"a": 1, "d": 2}', 'argument "d": expected a boolean, got a number'),
        ("scalars", '{"a": 1, "zz": 1}', 'unknown argument "zz": scalars takes a, b, c, d, e'),
        ("scalars", "[1]", "expected a JSON object of arguments"),
        ("scalars", "{nope", "the body is not JSON"),
        ("containers", '{"a": [1, {}]}', 'argument "a[1]": expected an integer, got an object'),
        ("containers", '{"a": [], "b": {"k": []}}', 'argument "b.k": expected a number, got an array'),
        ("containers", '{"a": [], "d": "z"}', "argument \"d\": expected one of 'x', 'y', got a string"),
        ("containers", '{"a": [], "c": [1]}', 'argument "c": expected an array of 2 elements'),
        ("classes", '{"point": {}}', 'argument "point.x": is missing'),
        ("classes", '{"point": {"x": 1}, "when": "soon"}', 'argument "when": expected a date and time, got a string'),
        ("model", '{"box": {"width": 0}}', 'argument "box.width": Input should be greater than or equal to 1'),
        ("limited", '{"count": 0}', 'argument "count": Input should be greater than or equal to 1'),
        ("double", '{"array": "x"}', 'argument "array": expected an array of numbers'),
        ("double", '{"array": [[1], [1, 2]]}', 'argument "array": expected an array of numbers'),
        ("shaped", '{"array": [1]}', 'argument "array": expected an array of numbers: cannot reshape'),
        ("rotate", '{"image": "x"}', 'argument "image": expected an image, got a string'),
        ("rotate", '{"image": "http://example.com/x.png"}', 'argument "image": expected an image, got a URL'),
        ("size", "not an image", 'argument "image": expected an image: cannot identify'),
        ("root_list", "", 'argument "items" is missing: the body is empty'),
    ],
)
def test_bad_input_names_the_argument_and_what_was_expected(worker: Worker, task: str, body: str, message: str) -> None:
    said = worker.ask(task, body.encode()).header
    assert (said["type"], said.get("code"), said.get("status")) == ("failed", "bad_input", 400)
    assert said["message"].startswith(message)


def test_an_image_comes_in_a_form_and_goes_out(worker: Worker) -> None:
    said = form(worker, "rotate", ("angle", 90), ("image", ("in.png", "image/png", png())))
    assert said.content_type == "image/png"
    assert Image.open(io.BytesIO(said.body)).size == (2, 3)


def test_several_images_come_under_one_name(worker: Worker) -> None:
    images = [("images", (f"{width}.png", "image/png", png((width, 1)))) for width in (1, 2, 3)]
    assert json.loads(form(worker, "sizes", *images).body) == [[1, 1], [2, 1], [3, 1]]
    assert json.loads(form(worker, "sizes", images[0]).body) == [[1, 1]]


def test_a_file_keeps_its_name_and_every_byte(worker: Worker) -> None:
    tricky = b"\r\n--d5150b1d67d11f306bf30d3e9f6e813\r\n\0\xff\r\n--"
    said = form(worker, "upper", ("suffix", "."), ("file", ("tricky \u00e9.bin", "application/octet-stream", tricky)))
    assert said.body == tricky.upper() + b"."
    headers = dict(said.header["headers"])
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"] == "attachment; filename*=utf-8''tricky%20%C3%A9-upper.bin"


def test_a_file_result_is_named_as_bentoml_names_it(worker: Worker) -> None:
    said = form(worker, "upper", ("file", ("a.txt", "text/plain", b"hello")))
    assert (said.body, said.content_type) == (b"HELLO", "text/plain; charset=utf-8")
    assert dict(said.header["headers"])["content-disposition"] == 'attachment; filename="a-upper.txt"'


def test_a_file_name_leads_nowhere_else(worker: Worker) -> None:
    names = ["../../etc/passwd", "..", "", "/", "a\\b.txt"]
    parts = [("files", (name.replace("\\", "\\\\"), "text/plain", b"x")) for name in names]
    assert json.loads(form(worker, "names", *parts).body) == ["passwd", "file", "file", "file", "b.txt", "None"]


def test_what_an_attempt_left_is_removed(worker: Worker) -> None:
    form(worker, "upper", ("file", ("a.txt", "text/plain", b"hello")))
    worker.call("limited")
    open_folders = [path for path in Path("/tmp").glob("ekiben-*") if not path.name.startswith("ekiben-test-")]
    assert not [path for path in open_folders if list(path.glob("*/a.txt"))]


def test_a_form_without_files_is_understood(worker: Worker) -> None:
    urlencoded = "application/x-www-form-urlencoded"
    assert worker.ask("scalars", b"a=5&c=7&d=true", urlencoded).body == b"(5, 1.0, '7', True, b'')"
    assert worker.ask("scalars", b"a=5&c=%22q%22", urlencoded).body == b"(5, 1.0, 'q', False, b'')"
    assert form(worker, "scalars", ("a", 5), ("c", "q")).body == b"(5, 1.0, 'q', False, b'')"
    missing = form(worker, "rotate", ("angle", 1)).header
    assert missing["message"] == 'argument "image" is missing'
    broken = worker.ask("rotate", b"--x\r\nnothing", "multipart/form-data; boundary=x").header
    assert broken["code"] == "bad_input"


@pytest.mark.parametrize(
    ("task", "body", "content_type", "seen"),
    [
        ("shout", "hé".encode(), "text/plain", "HÉ".encode()),
        ("shout", b"", "text/plain", b""),
        ("reverse", b"\xff\0", "text/plain", b"\0\xff"),
        ("size", png(), "image/png", b"[3, 2]"),
        ("contents", b"plain", None, b"plain"),
        ("root_model", b'{"width": 4}', "application/json", b"4"),
        ("root_list", b"[1, 2]", "application/json", b"3"),
        ("defaulted", b"7", "application/json", b"7"),
        ("defaulted", b"", "application/json", b"4"),
    ],
)
def test_a_root_input_is_the_whole_body(
    worker: Worker, task: str, body: bytes, content_type: str | None, seen: bytes
) -> None:
    assert worker.ask(task, body, content_type).body == seen


JSON, TEXT = "application/json", "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("task", "body", "content_type"),
    [
        # As BentoML 1.4.40 answers, byte for byte.
        ("none", b"null", JSON),
        ("number", b"1e+22", JSON),
        ("string", "hé".encode(), TEXT),
        ("nothing", b"", TEXT),
        ("data", b"\xff\0", TEXT),
        ("dictionary", b'{"a": 1, "\\u00e9": {"k": "\\u00f6"}}', JSON),
        ("items", b'[1, {"a": 1}]', JSON),
        ("box", '{"width":1,"label":"é"}'.encode(), JSON),
        ("boxes", b'[{"width": 1, "label": "\\u00e9"}, {"width": 2, "label": "\\u00e9"}]', JSON),
        ("loose_box", b'{"width": 3, "label": "\\u00e9"}', JSON),
        ("point", b'{"x": 1, "y": 2.0}', JSON),
        ("array", b"[[1, 2], [3, 4]]", JSON),
        ("gaps", b"[1.5, null]", JSON),
        ("in_dictionary", b'{"a": 1.5}', JSON),
        ("pair", b'[1, "a"]', JSON),
        ("set", b"[1]", JSON),
        ("audio", b"x", "audio/mpeg"),
        # Here its own client fails on what BentoML answers.
        ("loose_string", b'"h\\u00e9"', JSON),
        ("optional", b'"x"', JSON),
        ("loose_data", b"x", "application/octet-stream"),
        ("moment", b"2026-01-02T03:04:05", TEXT),
        ("color", b"blue", TEXT),
    ],
)
def test_a_result_is_answered_as_bentoml_answers_it(worker: Worker, task: str, body: bytes, content_type: str) -> None:
    said = worker.ask("give_" + task)
    assert (said.body, said.content_type) == (body, content_type), said


def test_an_image_needs_no_annotation_to_be_one(worker: Worker) -> None:
    assert worker.ask("give_loose_image").content_type == "image/png"


def test_a_result_that_is_not_what_was_announced_fails(worker: Worker) -> None:
    assert worker.ask("give_wrong").header["message"] == "TypeError: returned int, expected a string"
    assert worker.ask("give_no_file").header["message"].startswith("FileNotFoundError")


def test_arrays_pass_as_nested_lists(worker: Worker) -> None:
    sent = numpy.arange(6).reshape(2, 3)
    assert worker.call("double", array=sent.tolist()) == (sent * 2).tolist()
