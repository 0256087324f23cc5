"""The way in: a function's parameters as a JSON schema, and a request's body as the arguments of a call."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Annotated, Any, Callable

from .answers import plain
from .channel import Bytes
from .errors import BadInput, Mismatch
from .forms import Field, Form, Upload, parse_multipart, parse_urlencoded
from .kinds import Kind, array_of, kind_of, mapping_to, unwrap
from .schema import Schema, settle, titled

_JSON = json.JSONDecoder()
_MISSING = inspect.Parameter.empty

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Intake:
    """How a task is called. `schema` is its input in the form BentoML gives."""

    def __init__(self, function: Callable[..., Any], hints: Mapping[str, Any], root_input: bool) -> None:
        parameters = [_Parameter(parameter, hints) for parameter in inspect.signature(function).parameters.values()]
        positional = [parameter for parameter in parameters if parameter.positional_only]
        if (positional or root_input) and len(parameters) != 1:
            raise TypeError("a root input, or a positional-only parameter, must be the only parameter")
        self._name = function.__name__
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._root: _Parameter | None = parameters[0] if positional or root_input else None
        self.schema = self._object_schema() if self._root is None else self._root_schema(self._root)

    def read(self, headers: Mapping[str, str], body: Bytes) -> Arguments:
        """The arguments in a body. Raises BadInput, naming the argument and what was expected."""
        content_type = headers.get("content-type", "")
        if self._root is not None:
            return self._root.as_root(content_type, body)
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type == "multipart/form-data":
            return self._call(self._from_form(parse_multipart(body, content_type)))
        if media_type == "application/x-www-form-urlencoded":
            return self._call(self._from_form(parse_urlencoded(body)))
        values = parse_json(body) if len(body) else {}
        if not isinstance(values, dict):
            raise BadInput("expected a JSON object of arguments")
        return self._call(values)

    def _object_schema(self) -> Schema:
        properties = {name: parameter.schema() for name, parameter in self._parameters.items()}
        schema: Schema = {"properties": properties, "title": "Input", "type": "object"}
        required = [name for name, parameter in self._parameters.items() if not parameter.has_default]
        if required:
            schema["required"] = required
        return settle(schema)

    def _root_schema(self, root: _Parameter) -> Schema:
        return {**settle(root.kind.schema), "root_input": True}

    def _from_form(self, form: Form) -> dict[str, Any]:
        parameters = self._parameters
        return {
            name: parameters[name].from_fields(fields) if name in parameters else fields
            for name, fields in form.items()
        }

    def _call(self, values: dict[str, Any]) -> Arguments:
        args: tuple[Any, ...] = ()
        kwargs: dict[str, Any] = {}
        for name in values:
            if name not in self._parameters:
                raise BadInput(f'unknown argument "{name}": {self._name} takes {self._takes()}')
        for name, parameter in self._parameters.items():
            value = parameter.take(values)
            if value is _MISSING:
                continue
            if parameter.gathers_positional:
                # What came before must be positional then, too.
                args, kwargs = (*kwargs.values(), *value), {}
            elif parameter.gathers_keywords:
                kwargs.update(value)
            else:
                kwargs[name] = value
        return args, kwargs

    def _takes(self) -> str:
        return ", ".join(self._parameters) or "no arguments"


class _Parameter:
    """One parameter of a task."""

    def __init__(self, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
        self.positional_only = parameter.kind is parameter.POSITIONAL_ONLY
        self.gathers_positional = parameter.kind is parameter.VAR_POSITIONAL
        self.gathers_keywords = parameter.kind is parameter.VAR_KEYWORD
        annotation = hints.get(parameter.name, Any)
        self.default = parameter.default
        self._default_factory: Callable[[], Any] | None = None
        self.name = parameter.name
        if _is_pydantic_field(self.default):
            annotation = self._take_pydantic_field(annotation)
        try:
            self.kind = kind_of(annotation)
        except TypeError as error:
            raise TypeError(f"parameter {self.name}: {error}") from None
        if self.gathers_positional:
            self.name, self.kind = "args", array_of(self.kind)
        elif self.gathers_keywords:
            self.name, self.kind = "kwargs", mapping_to(self.kind)

    @property
    def has_default(self) -> bool:
        return self.default is not _MISSING or self._default_factory is not None

    def schema(self) -> Schema:
        schema = titled(self.kind.schema, self.name)
        if self.default is not _MISSING:
            try:
                schema["default"] = json.loads(json.dumps(self.default, default=plain))
            except (TypeError, ValueError):
                pass  # A default that JSON cannot say is a default all the same.
        return schema

    def take(self, values: dict[str, Any]) -> Any:
        """The argument among the values, or its default."""
        if self.name in values:
            return self._decode(values[self.name])
        if self.has_default:
            return self._make_default()
        if self.gathers_positional or self.gathers_keywords:
            return _MISSING
        raise BadInput(f'argument "{self.name}" is missing')

    def as_root(self, content_type: str, body: Bytes) -> Arguments:
        """The whole body as this one argument."""
        value = self._root_value(content_type, body)
        if value is _MISSING and not self.has_default:
            raise BadInput(f'argument "{self.name}" is missing: the body is empty')
        decoded = self._make_default() if value is _MISSING else self._decode(value)
        return ((decoded,), {}) if self.positional_only else ((), {self.name: decoded})

    def from_fields(self, fields: list[Field]) -> Any:
        """The value in the fields of a form that have this name."""
        if self.kind.many and (len(fields) > 1 or isinstance(fields[0], Upload)):
            return list(fields)
        field = fields[-1]
        if isinstance(field, Upload):
            return field if self.kind.carrier in ("file", "bytes") else _json_or_text(_text(field.data), self.kind)
        return _json_or_text(field, self.kind)

    def _root_value(self, content_type: str, body: Bytes) -> Any:
        if content_type.startswith("multipart/form-data"):
            fields = [field for fields in parse_multipart(body, content_type).values() for field in fields]
            return self.from_fields(fields) if fields else _MISSING
        if self.kind.carrier == "file":
            if content_type.startswith("application/json") and bytes(body[:8]).lstrip(b'"').startswith(b"http"):
                return _text(body).strip('"')
            return Upload(body, None, content_type or None)
        if self.kind.carrier in ("text", "bytes"):
            return _text(body) if self.kind.carrier == "text" else Upload(body)
        return parse_json(body) if len(body) else _MISSING

    def _make_default(self) -> Any:
        return self.default if self._default_factory is None else self._default_factory()

    def _decode(self, value: Any) -> Any:
        try:
            return self.kind.decode(value)
        except Mismatch as wrong:
            raise BadInput(f'argument "{wrong.under(self.name).where()}": {wrong.message}') from None

    def _take_pydantic_field(self, annotation: Any) -> Any:
        """A default that is pydantic's Field says more about the type, and may hold the default proper."""
        from pydantic_core import PydanticUndefined

        field: Any = self.default
        self._default_factory = field.default_factory
        self.default = _MISSING if field.default is PydanticUndefined else field.default
        base, metadata = unwrap(annotation)
        return Annotated[(base, *metadata, field)]


def parse_json(body: Bytes) -> Any:
    """A body as JSON. Raises BadInput."""
    try:
        return _JSON.decode(str(body, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the body is not JSON: {error}") from None


def _text(body: Bytes) -> str:
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        raise BadInput("expected text in UTF-8") from None


def _json_or_text(text: str, kind: Kind) -> Any:
    """A form's field: JSON, as the BentoML client writes it, or plain text, as all others do."""
    try:
        value = _JSON.decode(text)
    except ValueError:
        return text
    if kind.carrier in ("text", "bytes") and not isinstance(value, str):
        return text
    return value


def _is_pydantic_field(default: Any) -> bool:
    return type(default).__name__ == "FieldInfo" and type(default).__module__.startswith("pydantic")
