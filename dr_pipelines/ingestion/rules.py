"""Rules about whole columns, checked together, with examples of the rows that break them.

A rule is a boolean column. pandera is given what all of them say of each row, as one column: it
takes milliseconds for each column it is given, as much as a small day takes altogether. Values are
shown from the checked table itself, because pandera's Arrow backend reports no usable row numbers
and knows no fixed-size types.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from dr_pipelines.errors import InvalidRequest

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """An expectation of a column, and where it holds; null counts as not."""

    column: str
    expected: str
    holds: pa.Array | pa.ChunkedArray


def require_schema(table: pa.Table | pa.RecordBatch, schema: pa.Schema, what: str) -> None:
    """Raises `InvalidRequest` that names every column that differs."""
    if table.schema.equals(schema):
        return
    columns, expected = _described(table.schema), _described(schema)
    differences = [
        f"{name}: {columns.get(name, 'missing')}, expected {expected.get(name, 'no such column')}"
        for name in dict.fromkeys([*expected, *columns])
        if columns.get(name) != expected.get(name)
    ]
    message = "; ".join(differences) or f"order of columns: {', '.join(columns)}"
    raise InvalidRequest(f"{what} have the wrong schema: {message}")


def enforce(rules: Sequence[Rule], table: pa.Table, *, what: str, names: Sequence[str]) -> None:
    """Raises `InvalidRequest` with each broken rule, how many rows break it, and up to five of
    them by the columns `names`."""
    import pandera.pyarrow as pandera

    verdicts = [_verdict(rule) for rule in rules]
    sound = pa.table({"sound": reduce(pc.and_, verdicts)})
    holds = pandera.Check.eq(True, n_failure_cases=1)
    schema = pandera.DataFrameSchema({"sound": pandera.Column(pa.bool_(), holds)}, strict=True)
    try:
        schema.validate(sound, lazy=True)
    except pandera.errors.SchemaErrors:
        broken = [
            (r, v) for r, v in zip(rules, verdicts, strict=True) if pc.any(pc.invert(v)).as_py()
        ]
        messages = [_broken(rule, verdict, table, names) for rule, verdict in broken]
        raise InvalidRequest(
            f"{what} break {len(messages)} rules: " + "; ".join(messages)
        ) from None


def _verdict(rule: Rule) -> pa.Array:
    """Row by row, in one piece."""
    holds = pc.fill_null(rule.holds, False)
    return holds.combine_chunks() if isinstance(holds, pa.ChunkedArray) else holds


def _broken(rule: Rule, holds: pa.Array, table: pa.Table, names: Sequence[str]) -> str:
    rows = pc.indices_nonzero(pc.invert(holds))
    columns = list(dict.fromkeys([*names, rule.column]))
    examples = table.select(columns).take(rows[:EXAMPLES]).to_pylist()
    shown = ", ".join(_example(row, rule.column, names) for row in examples)
    return f"{rule.column}: expected {rule.expected}; {len(rows)} of {len(table)} rows: {shown}"


def _example(row: dict[str, object], column: str, names: Sequence[str]) -> str:
    value = repr(row[column])
    place = " ".join(f"{name} {row[name]!r}" for name in names if name != column)
    return f"({place}: {value if len(value) <= 80 else value[:77] + '...'})"


def _described(schema: pa.Schema) -> dict[str, str]:
    return {f.name: f"{f.type}{'' if f.nullable else ' not null'}" for f in schema}
