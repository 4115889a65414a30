"""Vector stores that break one promise each, to prove that the contract suite bites.

A store stands in the module named like that of `store_promises` whose test catches it. One whose
fault only shows where an engine declares that it cannot do something has the attribute of the suite
(`refuses`, `scans_one_moment`) beside it.
"""

from dr_pipelines.testing.broken_stores import (
    aliases,
    filters,
    fitting,
    keywords,
    lifecycle,
    reading,
    searching,
    specifications,
    values,
    writing,
)
from dr_pipelines.testing.memory_store import MemoryVectorStore

BROKEN: dict[type[MemoryVectorStore], str] = {
    **lifecycle.BROKEN,
    **specifications.BROKEN,
    **aliases.BROKEN,
    **values.BROKEN,
    **writing.BROKEN,
    **fitting.BROKEN,
    **reading.BROKEN,
    **searching.BROKEN,
    **filters.BROKEN,
    **keywords.BROKEN,
}
"""Each broken store and the test of the contract that catches it."""
