"""Expressions as the server's catalogs keep them after its own parse (`pg_node_tree`): where the
numbers of objects stand in one, which of them make JSON, and what types are built of.

For consent before a restore (`trust`) and for the look before a write (`foreign_code`) alike.
"""

# ruff: noqa: S608  # statements are built from constants of this package

import re

OF_FUNCTION = re.compile(
    r":(?:funcid|opfuncid|hashfuncid|negfuncid|aggfnoid|winfnoid|tsmhandler) (\d+)"
)
OF_OPERATOR = re.compile(r":(?:opno|eqop|sortop) (\d+)")
OPERATORS = re.compile(r":opnos \(o ([\d ]+)\)")
OF_TYPE = re.compile(r":\w*typ(?:e|eid|id) (\d+)")
OF_RESULT = re.compile(r":typid (\d+)")
"""The type of what an expression makes of JSON, which no dependency says."""
OF_RELATION = re.compile(r":relid (\d+)")

TO_JSON = re.compile(r"(row_|array_)?to_jsonb?|jsonb?_(build_|object_agg|agg).*")
"""Functions that make JSON of anything: of a type with a cast to json they call that cast."""
JSON_NODE = "{JSONCONSTRUCTOREXPR "

PARTS = """
    SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.typelem <> 0::oid
    UNION ALL SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.typbasetype <> 0::oid
    UNION ALL SELECT t.oid, a.atttypid FROM pg_catalog.pg_type t
        JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
        WHERE t.typrelid <> 0::oid AND a.attnum > 0::int2 AND NOT a.attisdropped
    UNION ALL SELECT r.rngtypid, r.rngsubtype FROM pg_catalog.pg_range r
    UNION ALL SELECT r.rngmultitypid, r.rngtypid FROM pg_catalog.pg_range r
"""
"""Types, and those that they are made of: elements, base types, attributes, bounds."""
PARTS_OF = "(SELECT p.of FROM (" + PARTS + ") AS p (whole, of) WHERE p.whole = {}.id OFFSET 0)"
"""The parts of the type that a row before it has as `id`: looked up by their numbers, since OFFSET
keeps the planner from reading whole catalogs and joining them."""
