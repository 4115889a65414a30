"""The contract that every vector store must meet.

class TestMyStore(VectorStoreContract):
    engine = "mine"

    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return MyStore(tmp_path)

The tests are in `store_promises`, by subject.

A store that does not return the bits it was given says so in `vector_tolerance`. What an engine
cannot do is declared by the attributes of the class, and something else is asserted instead:
nothing is skipped.
"""

from collections.abc import Mapping
from typing import ClassVar

from dr_pipelines.model.collection import CollectionSpec
from dr_pipelines.protocols import VectorStore
from dr_pipelines.testing.store_promises.aliases import Aliases
from dr_pipelines.testing.store_promises.filters import Filters
from dr_pipelines.testing.store_promises.fitting import Fitting
from dr_pipelines.testing.store_promises.keywords import Keywords
from dr_pipelines.testing.store_promises.lifecycle import Lifecycle
from dr_pipelines.testing.store_promises.reading import Reading
from dr_pipelines.testing.store_promises.searching import Searching
from dr_pipelines.testing.store_promises.specifications import Specifications
from dr_pipelines.testing.store_promises.values import Values
from dr_pipelines.testing.store_promises.writing import Writing


class VectorStoreContract(  # pytest runs the last one first
    Keywords,
    Filters,
    Searching,
    Reading,
    Writing,
    Fitting,
    Values,
    Aliases,
    Specifications,
    Lifecycle,
):
    """Subclass it and provide the fixture `store`: an empty store."""

    engine: ClassVar[str]
    """The first word of the store's `engine`: the name of its section in a specification."""

    refuses: ClassVar[frozenset[str]] = frozenset()
    """Documents of `EXTREMES` that hold something the engine cannot keep. Asserted instead: a batch
    with such a record is refused whole, by a message that names the record."""

    scans_one_moment: ClassVar[bool] = True
    """Whether a scan reads the state at one moment. Asserted instead: it gives every record that
    nobody touches meanwhile once, and nothing that never was."""

    tuned: ClassVar[tuple[CollectionSpec, ...]] = ()
    """Specifications that together have another value than the default in every part of the
    engine's configuration: each must read back after `create` and `build_index`."""

    unreported: ClassVar[Mapping[str, frozenset[str]]] = {}
    """Of `SPEC` and every specification in `tuned`, by name: the parts that the store lists as
    unreported, because its engine says nothing of them. Asserted instead: these are all, so that no
    other part is an echo of what was asked for."""

    many: ClassVar[int] = 20_000
    """Records of the test that wants many."""

    def reopened(self, store: VectorStore) -> VectorStore:
        """The same store as another process would open it. A store that others can open overrides
        this."""
        return store
