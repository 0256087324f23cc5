"""Small verbs on JSON schemas, so that ours come out flat, as the BentoML client needs them.

The client follows no `$ref` and no `anyOf`: a definition stands where it is used, and of a choice the first
alternative stands for all, as in BentoML's own schemas.
"""

from __future__ import annotations

import copy
from typing import Any

Schema = dict[str, Any]


def titled(schema: Schema, name: str) -> Schema:
    """A copy of the schema, with the title that pydantic makes of a field's name."""
    schema = copy.deepcopy(schema)
    schema.setdefault("title", name.title().replace("_", " ").strip())
    return schema


def inline(schema: Schema) -> Schema:
    """The schema with each definition where it is used. A definition inside itself is left open."""
    definitions = schema.get("$defs", {})
    inlined: Schema = _inline({key: value for key, value in schema.items() if key != "$defs"}, definitions, ())
    return inlined


def _inline(value: Any, definitions: Schema, inside: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_inline(element, definitions, inside) for element in value]
    if not isinstance(value, dict):
        return value
    reference: str | None = value.get("$ref")
    rest = {key: _inline(element, definitions, inside) for key, element in value.items() if key != "$ref"}
    if not isinstance(reference, str):
        return rest
    name = reference.rsplit("/", 1)[-1]
    if name in inside or name not in definitions:
        return rest
    # What stands beside the reference is about the field, such as its default; what the definition says wins.
    return {**rest, **_inline(definitions[name], definitions, (*inside, name))}


def flatten(schema: Schema) -> Schema:
    """The schema with the first of each choice in its place, in the objects and arrays that the client walks."""
    for choice in ("allOf", "anyOf"):
        if choice in schema:
            alternatives = schema.pop(choice)
            schema.update(alternatives[0])
    if schema.get("type") == "object" and "properties" in schema:
        schema["properties"] = {name: flatten(member) for name, member in schema["properties"].items()}
    elif schema.get("type") == "array" and "items" in schema:
        schema["items"] = flatten(schema["items"])
    return schema


def settle(schema: Schema) -> Schema:
    """A whole input or output: flat if it has properties. BentoML leaves any other as it is."""
    schema = copy.deepcopy(schema)
    return flatten(schema) if schema.get("properties") else schema
