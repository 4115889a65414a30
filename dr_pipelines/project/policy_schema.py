"""The schema of policies files, as JSON Schema for editors and as a table for people.

`python -m dr_pipelines.project.policy_schema docs` writes both into a directory.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dr_pipelines.model.components import OfEngines
from dr_pipelines.model.policy import Policies
from dr_pipelines.stores import engines

Schema = dict[str, Any]

GENERATED = (
    "<!-- From here on: written by `python -m dr_pipelines.project.policy_schema docs`. -->\n"
)


class KeyEntry(NamedTuple):
    """A key such as `collections.NAME.source.path`: the kind of part that it belongs to, and its
    meaning."""

    path: str
    kind: str
    schema: Schema
    required: bool


def policy_schema() -> Schema:
    """JSON Schema, draft 2020-12."""
    described: Schema = _filled(_closed(Policies.model_json_schema()), _declared_by_engines())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | described


def _declared_by_engines() -> dict[str, str]:
    """Schemas for the places of `OfEngines`: of this package's own engines alone, so that they
    are the same everywhere."""
    own = engines.own_engines().values()
    urls = [f"{_one_of([f'`{f}`' for f in engine.forms])} ({engine.title})" for engine in own]
    return {
        OfEngines.URLS: "; ".join(urls),
        OfEngines.SUGGESTED_URL: engines.suggested_url(".dr/stores"),
        OfEngines.TAKING_NAMES: _one_of([engine.title for engine in own if engine.takes_names]),
    }


def _one_of(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _filled(schema: Any, values: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        return {key: _filled(value, values) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_filled(item, values) for item in schema]
    if isinstance(schema, str):
        for place, value in values.items():
            schema = schema.replace(place, value)
    return schema


def _closed(schema: Any) -> Any:
    """The schema with the names of entries fixed: a pattern alone would let other names pass."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key != "patternProperties"}
    for pattern, entry in schema.get("patternProperties", {}).items():
        closed |= {"propertyNames": {"pattern": pattern}, "additionalProperties": _closed(entry)}
    return closed


def schema_at(root: Schema, location: Sequence[str | int]) -> Schema:
    """The part of the schema at a location of a pydantic error; empty where there is none."""
    here = _resolved(root, root)
    for step in location:
        here = _resolved(root, _step(here, step))
    return here


def kinds(schema: Schema) -> list[str]:
    """The values of `kind` that a place in the file accepts."""
    return list(schema.get("discriminator", {}).get("mapping", {}))


def keys(root: Schema) -> list[KeyEntry]:
    """Every key, in the order of the model."""
    return list(_keys(root, root, prefix="", kind=""))


def reference() -> str:
    """The table of all keys, in Markdown."""
    root = policy_schema()
    lines = ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    lines += [_row(root, entry) for entry in keys(root)]
    return "\n".join(lines) + "\n"


def _keys(root: Schema, schema: Schema, *, prefix: str, kind: str) -> Iterator[KeyEntry]:
    for name, value in schema.get("properties", {}).items():
        path = f"{prefix}.{name}".removeprefix(".")
        yield KeyEntry(path, kind, value, name in schema.get("required", []))
        inner = _resolved(root, value)
        if isinstance(inner.get("additionalProperties"), dict):
            path, inner = f"{path}.NAME", _resolved(root, inner["additionalProperties"])
        for tag in kinds(inner):
            yield from _keys(root, _resolved(root, _step(inner, tag)), prefix=path, kind=tag)
        yield from _keys(root, inner, prefix=path, kind="")


def _step(schema: Schema, step: str | int) -> Schema:
    mapping = schema.get("discriminator", {}).get("mapping", {})
    if step in mapping:
        return {"$ref": mapping[step]}
    inner = schema.get("properties", {}).get(step)
    inner = schema.get("additionalProperties") if inner is None else inner
    inner = schema.get("items") if inner is None else inner
    return inner if isinstance(inner, dict) else {}


def _resolved(root: Schema, schema: Schema) -> Schema:
    """The schema with references followed and `null` left out of its alternatives."""
    if "$ref" in schema:
        target = root["$defs"][schema["$ref"].rpartition("/")[2]]
        return _resolved(root, target | {k: v for k, v in schema.items() if k != "$ref"})
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        return _resolved(root, choices[0] | {k: v for k, v in schema.items() if k != "anyOf"})
    return schema


def _row(root: Schema, entry: KeyEntry) -> str:
    schema = _resolved(root, entry.schema)
    name = f"`{entry.path}`" + (f" (kind {entry.kind})" if entry.kind else "")
    examples = "; ".join(f"`{_written(example)}`" for example in schema.get("examples", []))
    meaning = schema["description"] + (" May hold `${NAME}`." if "x-variables" in schema else "")
    cells = [name, _type(schema), _default(entry), meaning, examples]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _default(entry: KeyEntry) -> str:
    if entry.required:
        return "required"
    default = entry.schema.get("default")
    return "none" if default is None else f"`{json.dumps(default)}`"


def _type(schema: Schema) -> str:
    if "const" in schema or "enum" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{_written(choice)}`" for choice in choices)
    if kinds(schema):
        return "one of: " + ", ".join(f"`{kind}`" for kind in kinds(schema))
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    limits = [f"{sign} {schema[key]}" for key, sign in bounds.items() if key in schema]
    names = {"integer": "whole number", "string": "text", "object": "mapping", "array": "list"}
    return ", ".join([names.get(schema["type"]) or schema["type"], *limits])


def documents(folder: Path) -> dict[Path, str]:
    """The two files as they should be; what stands before the generated part of one is kept."""
    page = folder / "policies.md"
    written = page.read_text(encoding="utf-8").partition(GENERATED)[0]
    schema = json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"
    return {page: written + GENERATED + "\n" + reference(), folder / "policies.schema.json": schema}


if __name__ == "__main__":
    for path, text in documents(Path(sys.argv[1])).items():
        path.write_text(text, encoding="utf-8")
