"""Consent to the code of a collection's definitions, from where it was given to where it counts.

Definitions are texts, and who owns a schema may put another type or function under a name in them
after somebody read what they call. So what is executed is compared with what was shown: once more
by the server's parse right before, and after, by the numbers that the catalogs have of what was
made, before any row is in it.
"""

from collections.abc import Iterable

from dr_pipelines.errors import Refused
from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.model.definitions import Call, Definitions
from dr_pipelines.planning.parts import OWN_NAME
from dr_pipelines.stores.pgvector.analysis import analyse
from dr_pipelines.stores.pgvector.called import made_calls
from dr_pipelines.stores.pgvector.catalog import Table, find_table
from dr_pipelines.stores.pgvector.connections import Session
from dr_pipelines.stores.pgvector.making import ENGINE, as_described, section_of
from dr_pipelines.stores.pgvector.rights import owner_of

Callees = frozenset[tuple[str, str]]
NOTHING_RAN = "Nothing of it was executed; run the command again"
UNDONE = "This step is undone; run the command again"
BUILT = "Indexes that were built before stay: drop the collection and run the command again"
STAYS = "It is there still: drop the collection and run the command again"
AS_MADE = ("columns", "layout", OWN_NAME)
"""What of a section a table was made of: nothing of it is executed again."""


class Consents:
    """The calls that were shown for each collection: whoever has one made after that consented to
    them, and to no others. Nothing is compared where nobody asked, and where what definitions do
    was said not to be analysed."""

    def __init__(self) -> None:
        self._shown = dict[str, Callees]()
        self._made = dict[str, CollectionSpec]()

    def accept(self, spec: CollectionSpec) -> None:
        """Somebody had a collection made of these definitions: until others have rights in it, what
        is in them runs as rows come."""
        self._made[spec.name] = spec

    def is_accepted(self, name: str) -> bool:
        """True if somebody had a collection of this name made."""
        return name in self._made

    def covers(self, session: Session, table: Table, name: str) -> bool:
        """True if the code that a write runs was consented to: by whoever had the table created,
        also if a killed process began it, while the table is this role's own and nobody else has
        rights in it."""
        begun = table.label is not None and not table.label.opened
        return name in self._made and begun and owner_of(session, table.id)[1]

    def require_believed(
        self,
        session: Session,
        table: Table,
        *,
        parts: frozenset[str] | None = None,
        outcome: str = NOTHING_RAN,
    ) -> None:
        """Look at definitions of a label right before they are executed. Refuse those that its
        table's owner may have forged, where they call code: whoever owns a table may comment on its
        key's index.

        Raises:
            Refused: names what would run.
        """
        label = table.label
        if label is None:
            return
        section = section_of(label.spec)
        executed = {key: part for key, part in section.items() if parts is None or key in parts}
        if not executed.keys() - set(AS_MADE):
            return
        spec = label.spec.model_copy(update={"engine": {**label.spec.engine, ENGINE: executed}})
        if label.spec == self._made.get(table.collection):
            self.require_same(session, spec, outcome=outcome)
            return
        owner, ours = owner_of(session, table.id)
        if ours:
            return
        if calls := analyse(session, spec).calls:
            raise Refused(
                f"table {table.name!r} belongs to {owner!r}, and its label has it made with what "
                f"nobody consented to: {calls[0]}. Restore it from a recovery point"
            )

    def forget(self, name: str) -> None:
        """Compare nothing before definitions of a collection are shown again."""
        self._shown.pop(name, None)

    def show(self, name: str, definitions: Definitions) -> None:
        """Keep what definitions of a collection call."""
        if definitions.unread is None:
            self._shown[name] = _callees(definitions.code)

    def require_same(
        self, session: Session, spec: CollectionSpec, *, outcome: str = NOTHING_RAN
    ) -> None:
        """Look again at definitions that are about to be executed; `outcome` says what is left of
        what was before, and what to do.

        Raises:
            Refused: they call what was not shown.
        """
        if spec.name in self._shown:
            with as_described(spec.name):
                self._require(spec.name, analyse(session, spec).calls, outcome=outcome)

    def require_made(self, session: Session, name: str, *, outcome: str = UNDONE) -> None:
        """Look at what a table came to depend on, in the transaction that made it; `outcome` says
        what is left of that, and what to do.

        Raises:
            Refused: it calls what was not shown.
        """
        table = find_table(session, name) if name in self._shown else None
        if table is not None:
            self._require(name, made_calls(session, table), outcome=outcome)

    def _require(self, name: str, calls: Iterable[Call], *, outcome: str) -> None:
        shown = self._shown[name]
        for call in calls:
            if (call.callee, call.reason) not in shown:
                raise Refused(
                    f"{name!r}: {call}, and did not when its definitions were read: somebody put "
                    f"it there meanwhile. {outcome}"
                )


def _callees(calls: Iterable[Call]) -> Callees:
    return frozenset((call.callee, call.reason) for call in calls)
