"""Are the indexes those of the point, and do names stand for the collection?"""

from collections.abc import Collection, Iterator

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.parts import PartFinding
from dr_pipelines.model.verdict import Check, Finding
from dr_pipelines.planning.parts import compare_parts, namespace
from dr_pipelines.proof.probes.subject import Target

INDEXED = ("index", "metric", "dtype", "quantization", "keyword_index")
"""In the names of parts that decide how a search is answered."""


def check_index(spec: CollectionSpec, target: Target) -> Check:
    """Compare what the store reports of indexes with the specification that the collection was made
    of, part by part, and ask whether they are built."""
    engine = namespace(target.store.engine)
    named = target.spec.model_copy(update={"name": spec.name})
    parts = [part for part in compare_parts(spec, named, engine=engine) if _of_index(part)]
    findings = [_of_part(part) for part in parts if not part.unreported]
    if not target.store.status(target.name).indexed:
        message = "the store says that indexes are not built: keyword and hybrid search fail"
        findings.append(Finding(check="index", place="not-built", message=message))
    silent = [part.part for part in parts if part.unreported]
    return Check(
        name="index",
        looked_at=1 + sum(1 for _ in _parts(spec, engine)),
        findings=tuple(findings),
        limits=(f"{', '.join(silent)}: not reported by the engine",) if silent else (),
    )


def _of_part(part: PartFinding) -> Finding:
    """An index of another kind or with other parameters answers, well or not, which `recall`
    measures: it warns, as a part that is not as it was does. Another metric answers something else.
    """
    answers = not part.part.endswith((".metric", ".dtype"))
    return Finding(
        check="index",
        place=part.part,
        gate="warns" if answers else "refuses",
        message=f"{part.part}: {part.consequence}",
    )


def _of_index(part: PartFinding) -> bool:
    return any(word in part.part for word in INDEXED)


def _parts(spec: CollectionSpec, engine: str) -> Iterator[str]:
    """Names of parts of a specification that `check_index` compares: all are missing from one
    without them."""
    bare = spec.model_copy(
        update={
            "vectors": tuple(v.model_copy(update={"index": None}) for v in spec.vectors),
            "engine": {},
            "keyword_index": not spec.keyword_index,
        }
    )
    return (part.part for part in compare_parts(spec, bare, engine=engine) if _of_index(part))


def check_aliases(aliases: Collection[str], target: Target) -> Check:
    """Names that must stand for the collection do, and no name stands for nothing."""
    if not aliases:
        return Check(name="aliases", skipped="the collection is not served under a name yet")
    pointing, there = target.store.aliases(), set(target.store.collections())
    physical = pointing.get(target.name, target.name)
    findings = list[Finding]()
    for alias in sorted(aliases):
        to = pointing.get(alias)
        if to != physical:
            message = f"{alias} stands for {to or 'nothing'}, not for {physical}"
            findings.append(Finding(check="aliases", place=alias, message=message))
    for alias, to in sorted(pointing.items()):
        if to not in there and alias not in aliases:
            message = f"{alias} stands for {to}, which is not there"
            findings.append(Finding(check="aliases", place=alias, gate="warns", message=message))
    return Check(name="aliases", looked_at=len(aliases), findings=tuple(findings))
