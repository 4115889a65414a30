"""The demo from beginning to end."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from dr_pipelines.cli.console import number, seconds, size
from dr_pipelines.cli.demo.acts import (
    REPLAYED_DAYS,
    compare_points,
    ingest_days,
    look_at_it,
    lose,
    replay_days,
    restore_by_load,
    restore_by_replay,
)
from dr_pipelines.cli.demo.corpus import Corpus, policies_text
from dr_pipelines.cli.demo.gate import stop_at_the_gate
from dr_pipelines.cli.demo.narration import Narrator
from dr_pipelines.cli.demo.sight import questions_of
from dr_pipelines.cli.demo.story import Story
from dr_pipelines.model.recovery import Recovery
from dr_pipelines.project.project import open_project
from dr_pipelines.recovery.verdict_report import verdict_head


def perform(
    corpus: Corpus, directory: Path, *, embedder: str, most_days: int, tell: Narrator
) -> bool:
    """Tell the story in a directory; whether every claim held."""
    story = _begin(corpus, directory, embedder=embedder, most_days=most_days, tell=tell)
    acts: list[tuple[str, Callable[[Story], None]]] = [
        ("Days pass: each is ingested, now and then a snapshot is taken", ingest_days),
        ("The collection is asked, and everything in it is read", look_at_it),
        ("Disaster: the store's file is deleted", lose),
        ("Way back 1: load the vectors that were kept", restore_by_load),
        ("Disaster again", lose),
        ("Way back 2: replay, embed the kept chunks again", restore_by_replay),
        ("A third restore meets damage: two vectors are swapped", stop_at_the_gate),
        (f"Some documents are deleted by mistake; {REPLAYED_DAYS} days are replayed", replay_days),
        ("What happened between two recovery points", compare_points),
    ]
    for title, act in acts:
        with tell.act(title):
            act(story)
    _end(story)
    return not tell.failed


def _begin(
    corpus: Corpus, directory: Path, *, embedder: str, most_days: int, tell: Narrator
) -> Story:
    policies = directory / "policies.yaml"
    policies.write_text(policies_text(corpus, embedder), encoding="utf-8")
    days = corpus.days[:most_days] if most_days else corpus.days
    story = Story(open_project(policies, os.environ), corpus, days, tell, policies)
    story.questions = questions_of(corpus)
    tell.headline("A collection is lost, and comes back")
    tell.command(f"cd {shlex.quote(str(directory))}")
    tell.figures(
        [
            ("feed", corpus.feed),
            ("days", f"{len(days)} of {len(corpus.days)}, {days[0]} to {days[-1]}"),
            ("embedder", story.lineage.embedder.provenance.name),
        ]
    )
    if len(days) < len(corpus.days):
        tell.say(
            f"Only the first {len(days)} days are ingested, to stay within a few minutes; "
            "--days 0 takes all of them."
        )
    return story


def _end(story: Story) -> None:
    tell = story.tell
    tell.headline("What was lost, what came back, and how long it took")
    tell.figures(
        [
            ("lost", f"twice: {size(story.lost_bytes)} in all"),
            *((f"back by {r.plan.route}", _came_back(r)) for r in story.recoveries),
            ("checks", f"{tell.checks - len(tell.failed)} of {tell.checks} held"),
        ]
    )
    tell.timing()


def _came_back(done: Recovery) -> str:
    took = seconds(sum(phase.seconds for phase in done.phases))
    vectors = "bit for bit" if done.bit_identical else "within tolerance"
    return (
        f"{number(done.documents)} documents, {number(done.records)} records in {took}, "
        f"vectors {vectors}; {verdict_head(done.verdict)}"
    )
