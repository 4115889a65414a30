"""SQL says whose each name is."""

from typing import LiteralString

import pytest

from dr_pipelines.stores.pgvector.statements import qualified


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a.oid = b.oid", "a.oid OPERATOR(pg_catalog.=) b.oid"),
        ("x <> y AND (a || b) <= c", "x OPERATOR(pg_catalog.<>) y AND (a OPERATOR(pg_catalog.||) b)"
         " OPERATOR(pg_catalog.<=) c"),
        ("i[0:n - 1]", "i[0:n OPERATOR(pg_catalog.-) 1]"),
        ("' = ' \" = \"", "' = ' \" = \""),
        ("FROM pg_class c, pg_catalog.pg_proc", "FROM pg_catalog.pg_class c, pg_catalog.pg_proc"),
        ("pg_get_expr(a, b)", "pg_catalog.pg_get_expr(a, b)"),
        ("coalesce(max(a), 'max(a)')", "coalesce(pg_catalog.max(a), 'max(a)')"),
        ("{}.vector_dims({})", "{}.vector_dims({})"),
        ("a::int8::pg_catalog.oid", "a::pg_catalog.int8::pg_catalog.oid"),
        ("k IN ('r', 'p')", "k OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p'])"),
        ("k IN (\n  SELECT a", "k OPERATOR(pg_catalog.=) ANY (SELECT a"),
        ("k IN (SELECT a FROM b)", "k OPERATOR(pg_catalog.=) ANY (SELECT a FROM b)"),
        ('a COLLATE "C"', 'a COLLATE pg_catalog."C"'),
        ("CASE WHEN a THEN b END", "CASE WHEN a THEN b END"),
    ],
)  # fmt: skip
def test_names_get_the_engines_schema(written: LiteralString, meant: str) -> None:
    assert qualified(written).as_string() == meant


@pytest.mark.parametrize(
    "written",
    [
        "a BETWEEN b AND c",
        "NULLIF(a, b)",
        "nullif(a, b)",
        "a NOT IN (SELECT b)",
        "a LIKE b",
        "CASE a WHEN b THEN c END",
        "JOIN a USING (b)",
        "a IS DISTINCT FROM b",
        "a IS NOT DISTINCT FROM b",
        "a IN (b, c)",
    ],
)
def test_a_form_whose_operator_has_no_schema_is_refused(written: LiteralString) -> None:
    with pytest.raises(ValueError, match="by its name alone"):
        qualified(written)
