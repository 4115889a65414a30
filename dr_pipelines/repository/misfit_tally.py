"""Records that an engine would not take, counted while they pass by."""

from dr_pipelines.model.misfit import NAMED, Misfit, Misfits


class MisfitTally:
    """Adds up misfits of batches: all counted, the first named."""

    def __init__(self) -> None:
        self.total = 0
        self.named: tuple[Misfit, ...] = ()

    def add(self, found: Misfits) -> None:
        """Count those of a batch."""
        self.total += len(found)
        self.named = (*self.named, *found.named)[:NAMED]
