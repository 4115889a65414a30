"""The acts of the demo. Every figure that they print is computed by the act itself."""

import shlex
from datetime import date

from dr_pipelines.backup.run import back_up
from dr_pipelines.cli.console import number, seconds, size
from dr_pipelines.cli.demo.sight import ask, failure, look
from dr_pipelines.cli.demo.story import Story
from dr_pipelines.cli.meter import metering
from dr_pipelines.cli.unread import look_at_source
from dr_pipelines.contents.diff import Diff, diff
from dr_pipelines.contents.documents import states_digest, stored_documents
from dr_pipelines.ingestion import ingest, replay
from dr_pipelines.model.backup import BackupRequest
from dr_pipelines.model.record import store_schema
from dr_pipelines.model.recovery import Request, Route
from dr_pipelines.project.backup import open_for_backup
from dr_pipelines.project.recovery import open_for
from dr_pipelines.recovery.report import recovery_head
from dr_pipelines.recovery.run import recover
from dr_pipelines.recovery.verdict_report import verdict_head
from dr_pipelines.repository.points import resolve
from dr_pipelines.stores.engines import suggested_scheme

STORE = "local"
SNAPSHOT_DAYS = 5
REPLAYED_DAYS = 3
SHOWN_QUESTIONS = 2
SHOWN_DOCUMENTS = 3
SHOWN_DIGITS = 24


def ingest_days(story: Story) -> None:
    """A log entry for each day, a snapshot for every few of them and the last."""
    story.dr(f"ingest {story.name}")
    story.dr(f"backup {story.name}")
    for count, day in enumerate(story.days, start=1):
        with metering(str(day)) as meter:
            done = ingest.ingest(
                story.lineage,
                history=story.history,
                live=story.live,
                first=day,
                last=day,
                progress=meter.rows,
            )
        line = f"{day}  {number(done.records):>5} records embedded"
        line += f", {number(done.applied.written):>4} documents written"
        if count % SNAPSHOT_DAYS == 0 or count == len(story.days):
            line += f"; snapshot {_snapshot(story)}"
        story.tell.say(line)
    bad = story.lineage.source.quarantined(0, story.history.latest().manifest.coverage.frontier)
    if bad:
        story.tell.say(
            f"{len(bad)} lines could not be read, such as {bad[0].place}: {bad[0].reason}"
        )


def _snapshot(story: Story) -> str:
    request = BackupRequest(collection=story.name)
    unread = look_at_source(story.project, story.name).unread
    taken = back_up(request, open_for_backup(story.project, request), unread=unread).taken
    story.snapshots.append(taken.number)
    return f"log:{taken.number}{'' if taken.equal else ', NOT equal to the store'}"


def look_at_it(story: Story) -> None:
    """Scan and ask; hold the documents against the truth where somebody wrote it down."""
    embedder, tell = story.lineage.embedder, story.tell
    for question in story.questions[:SHOWN_QUESTIONS]:
        story.dr(f"search {story.name} {shlex.quote(question.text)}")
        for hit in ask(story.store, story.name, question, embedder)[:2]:
            tell.say(f"{hit.score:.4f}  {hit.id}")
    story.before = look(story.store, story.name, story.questions, embedder)
    tell.figures(
        [
            ("records", number(story.before.records)),
            ("content digest", f"{story.before.content[:SHOWN_DIGITS]}…"),
            ("vector digest", f"{story.before.vectors[:SHOWN_DIGITS]}…"),
        ]
    )
    _check_golden(story, story.before.right)
    _check_truth(story)


def _check_golden(story: Story, right: int) -> None:
    """Golden answers are those of a real model at the end of the feed."""
    if not story.corpus.golden or len(story.days) < len(story.corpus.days):
        return
    total = len(story.questions)
    claim = f"{right} of {total} golden queries find what they must, and nothing they must not"
    if story.lineage.embedder.provenance.name == "hashing":
        story.tell.say(f"{claim} (hashing finds shared words only)")
    else:
        story.tell.check(claim, right == total)


def _check_truth(story: Story) -> None:
    point = story.history.latest()
    position = point.manifest.coverage.frontier
    digest = states_digest(stored_documents(story.history, point))
    if position in story.corpus.states:
        story.tell.check(
            f"the documents kept at position {position} are those of states.tsv, by hash",
            digest == story.corpus.states[position],
        )


def lose(story: Story) -> None:
    """Delete the file that the collection is served from, and ask it."""
    physical = story.store.aliases()[story.name]
    records = story.store.status(story.name).records
    [pattern] = suggested_scheme().files
    files = sorted((story.policies.parent / "stores").glob(f"{pattern.replace('*', physical)}*"))
    lost = sum(path.stat().st_size for path in files)
    for path in files:
        story.tell.command(f"rm {shlex.quote(str(path.relative_to(story.policies.parent)))}")
        path.unlink()
    story.lost_bytes += lost
    story.tell.say(f"Lost: {number(records)} records, {size(lost)}.")
    message = failure(story.store, story.name, story.questions[0], story.lineage.embedder)
    story.dr(f"search {story.name} {shlex.quote(story.questions[0].text)}")
    story.tell.check(f"search fails: {message or 'it still answers'}", message is not None)


def restore_by_load(story: Story) -> None:
    """Bring the newest point back from the vectors that were kept."""
    _restore(story, Route.LOAD)


def restore_by_replay(story: Story) -> None:
    """Bring the newest point back by embedding its chunks again."""
    _restore(story, Route.REPLAY)


def _restore(story: Story, route: Route) -> None:
    story.dr(f"restore {story.name} --route {route} --switch")
    request = Request(collection=story.name, store=STORE, route=route, switch=True)
    with metering(f"restoring by {route}") as meter:
        done = recover(request, open_for(story.project, request), progress=meter.rows)
    story.recoveries.append(done)
    phases = ", ".join(f"{phase.name} {seconds(phase.seconds)}" for phase in done.phases)
    story.tell.say(recovery_head(done))
    story.tell.say(phases)
    story.tell.say(verdict_head(done.verdict))
    _check_same(story)


def _check_same(story: Story) -> None:
    """Scan and ask again, and hold it against what was seen before the first loss."""
    before = story.before
    now = look(story.store, story.name, story.questions, story.lineage.embedder)
    if before is None:
        return
    tell = story.tell
    tell.check(
        "text and fields: the content digest of a scan is the same", now.content == before.content
    )
    tell.check("vectors: the vector digest of a scan is the same", now.vectors == before.vectors)
    tell.check("documents: the hashes of all texts are the same", now.documents == before.documents)
    total = len(story.questions)
    tell.check(
        f"{total} of {total} queries give the same answers, to the last digit of each score",
        now.answers == before.answers,
    )


def replay_days(story: Story) -> None:
    """Damage the served collection, and embed the last days again, through the log."""
    first, last = story.days[-REPLAYED_DAYS:][0], story.days[-1]
    deleted = _newest_documents(story, first)[:SHOWN_DOCUMENTS]
    physical = story.store.aliases()[story.name]
    nothing = store_schema(story.store.describe(physical)).empty_table()
    story.store.write(physical, nothing, replaces=deleted)
    story.tell.say(f"Deleted straight from the store: {', '.join(deleted)}")
    story.dr(f"replay {story.name} --from {first} --to {last}")
    with metering("replaying") as meter:
        done = replay.replay(
            story.lineage,
            history=story.history,
            live=story.live,
            first=first,
            last=last,
            progress=meter.rows,
            on_day=meter.day,
        )
    story.tell.say(
        f"{len(done.days)} days, {number(done.records)} records embedded again; "
        f"{done.applied.written} documents differed in the store and were repaired"
    )
    _check_same(story)


def _newest_documents(story: Story, day: date) -> list[str]:
    """Documents with text whose newest version came on a day or later."""
    point = story.history.latest()
    after = story.history.days(point.manifest)[day.isoformat()].after
    return [
        row.id
        for row in stored_documents(story.history, point)
        if row.chunks and row.version and row.version.position > after
    ]


def compare_points(story: Story) -> None:
    """Show the documents that differ between the first snapshot and the last."""
    first, last = (
        resolve(story.history, f"log:{n}") for n in (story.snapshots[0], story.snapshots[-1])
    )
    story.dr(f"diff {story.name} log:{first.number} log:{last.number}")
    difference = diff(story.history, first, last, limit=SHOWN_DOCUMENTS)
    story.tell.say(
        f"{difference.added_total} documents added, {difference.removed_total} removed, "
        f"{difference.changed_total} changed, {difference.unchanged} unchanged, such as:"
    )
    for line in _named(difference):
        story.tell.say(line)


def _named(difference: Diff) -> list[str]:
    changed = [
        f"~ {c.id}: "
        + ", ".join(
            [
                *(["text"] if c.text else []),
                *(["vectors"] if c.vectors else []),
                *(f.name for f in c.fields),
            ]
        )
        for c in difference.changed
    ]
    return [
        *(f"+ {d}" for d in difference.added),
        *(f"- {d}" for d in difference.removed),
        *changed,
    ]
