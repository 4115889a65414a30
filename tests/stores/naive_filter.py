"""The meaning of a filter, one record at a time, in plain Python."""

import math
from typing import Any

from dr_pipelines.model.query import (
    And,
    Contains,
    Equals,
    Filter,
    In,
    Not,
    Or,
    Range,
)


def keeps(filter: Filter, row: dict[str, Any]) -> bool:
    match filter:
        case And(filters):
            return all(keeps(f, row) for f in filters)
        case Or(filters):
            return any(keeps(f, row) for f in filters)
        case Not(inner):
            return not keeps(inner, row)
        case Equals(field, value):
            return row[field] is not None and row[field] == value
        case In(field, values):
            return row[field] is not None and any(row[field] == v for v in values)
        case Contains(field, value):
            return value in (row[field] or [])
        case Range(field, gte, gt, lte, lt):
            value = row[field]
            if value is None or (isinstance(value, float) and math.isnan(value)):
                return False
            return (
                (gte is None or value >= gte)
                and (gt is None or value > gt)
                and (lte is None or value <= lte)
                and (lt is None or value < lt)
            )
