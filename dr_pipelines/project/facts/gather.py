"""All facts of an incident, one collection after the other, in the order of recovery."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

from dr_pipelines import __version__
from dr_pipelines.model.incident import (
    CollectionFact,
    DocumentFact,
    Incident,
    PointFact,
    SavedFacts,
    StorePlace,
    Trouble,
)
from dr_pipelines.planning.standing import url_digest
from dr_pipelines.project.adapters import store_directory
from dr_pipelines.project.facts.inputs import golden_troubles, model_fact, source_fact
from dr_pipelines.project.facts.measurements import dimension_of
from dr_pipelines.project.facts.points import log_facts
from dr_pipelines.project.facts.restores import target_of, with_candidates
from dr_pipelines.project.facts.troubles import noted
from dr_pipelines.project.project import Project
from dr_pipelines.repository.presence import last_present

APART = timedelta(minutes=5)
"""How far an entry may seem to lie ahead: clocks differ by less."""


def chosen_collections(project: Project, incident: Incident) -> list[str]:
    """The collections of an incident, in the order of recovery. Raises `NotFound`."""
    for name in incident.collections:
        project.collection(name)
    if incident.collections:
        return [name for name in project.policies.in_order() if name in incident.collections]
    return [
        name
        for name in project.policies.in_order()
        if incident.store in (None, project.collection(name).policy.store)
    ]


def gather_facts(project: Project, incident: Incident, *, now: datetime) -> SavedFacts:
    """Look at everything that a plan for the incident depends on. Nothing is changed; no record of
    a store is read."""
    troubles = list[Trouble]()
    names = chosen_collections(project, incident)
    facts = tuple(_collection(project, incident, name, now=now) for name in names)
    stores = dict.fromkeys(incident.into or fact.store for fact in facts)
    places = tuple(_place(project, name, facts) for name in stores)
    return SavedFacts(
        at=now,
        tool_version=__version__,
        incident=incident,
        repository=project.policies.repository,
        scratch_bytes=_free(project.machine.state),
        collections=facts,
        stores=places,
        troubles=tuple(troubles),
    )


def _collection(
    project: Project, incident: Incident, name: str, *, now: datetime
) -> CollectionFact:
    protected, troubles = project.collection(name), list[Trouble]()
    policy = protected.policy
    fact = CollectionFact(
        name=name,
        owner=policy.owner,
        escalation=policy.escalation or policy.owner,
        priority=policy.priority,
        depends_on=policy.depends_on,
        authority=policy.authority,
        store=policy.store,
        rpo_seconds=policy.objectives.rpo.total_seconds(),
        rto_seconds=policy.objectives.rto.total_seconds(),
        allowance_seconds=(policy.objectives.allowance or timedelta(0)).total_seconds(),
    )
    if incident.kind != "repository-site":  # nobody waits for what is lost
        fact = _with_log(project, fact, troubles, incident=incident, now=now)
    with noted(troubles, default="repository", place=f"log of {name}"):
        newest = protected.history().point(fact.points[-1].number) if fact.points else None
        fact = fact.model_copy(
            update={
                "source": source_fact(protected, newest, troubles),
                "model": model_fact(protected, newest, troubles),
            }
        )
        golden_troubles(project, protected, newest, troubles)
    fact = _with_points(project, incident, fact, troubles)
    unique = tuple(dict.fromkeys(troubles))
    return fact.model_copy(update={"troubles": unique})


def _with_log(
    project: Project,
    fact: CollectionFact,
    troubles: list[Trouble],
    *,
    incident: Incident,
    now: datetime,
) -> CollectionFact:
    with noted(troubles, default="repository", place=f"log of {fact.name}"):
        history = project.collection(fact.name).history()
        log = log_facts(history, troubles)
        _clock(log.points, troubles, now=now)
        documents = tuple[DocumentFact, ...]()
        if incident.documents and log.newest is not None:
            numbers = last_present(history, incident.documents)
            documents = tuple(DocumentFact(id=d, number=n) for d, n in numbers.items())
        return fact.model_copy(
            update={
                "physical": log.newest.manifest.current.physical if log.newest else "",
                "dimension": dimension_of(log.newest.manifest) if log.newest else 0,
                "head": log.head,
                "head_sha256": log.head_sha256,
                "points": tuple(log.points),
                "states": tuple(log.states),
                "earlier": log.earlier,
                "measurements": log.measurements,
                "unread_reports": log.unread_reports,
                "documents": documents,
            }
        )
    return fact


def _with_points(
    project: Project, incident: Incident, fact: CollectionFact, troubles: list[Trouble]
) -> CollectionFact:
    if not fact.points:
        return fact
    target = target_of(project, incident, fact)  # a wrong name is a mistake, and no trouble
    if target is not None:
        fact = fact.model_copy(update={"targets": {incident.at: target}})
    with noted(troubles, default="repository", place=f"log of {fact.name}"):
        return with_candidates(project, incident, fact, troubles)
    return fact


def _clock(points: list[PointFact], troubles: list[Trouble], *, now: datetime) -> None:
    """An entry from the future: one of the two clocks is wrong."""
    newest = max(points, key=lambda point: point.at, default=None)
    if newest is not None and newest.at - now > APART:
        message = (
            f"log:{newest.number} was committed at {newest.at.isoformat()}, and here it is "
            f"{now.isoformat()}"
        )
        troubles.append(Trouble(kind="clock", place=f"log:{newest.number}", message=message))


def _place(project: Project, name: str, facts: tuple[CollectionFact, ...]) -> StorePlace:
    """A store as the restores that were looked at saw it; where none did its engine is unknown."""
    engine = next(
        (
            candidate.direct.store.engine
            for fact in facts
            for candidate in fact.candidates
            if candidate.store == name and candidate.direct is not None
        ),
        "",
    )
    directory, serves, url_sha256 = None, set[str](), ""
    troubles = list[Trouble]()
    with noted(troubles, default="store", place=f"store {name}"):
        policy = project.store_policy(name)
        url_sha256, directory = url_digest(policy.url), store_directory(policy, project.context)
        catalog = project.catalog(name)
        serves = {*catalog.collections(), *catalog.aliases()}
    return StorePlace(
        name=name,
        url_sha256=url_sha256,
        engine=engine,
        serves=tuple(sorted(serves)),
        free_bytes=_free(directory) if directory else None,
        trouble=next(iter(troubles), None),
    )


def _free(directory: Path) -> int:
    """The bytes that are free where a directory is, or would be made."""
    place = directory.resolve()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free
