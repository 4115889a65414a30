"""Checks whether a reading of a store is plausible enough to be believed."""

MASS_ABSENCE = 0.2
"""A snapshot that misses more than this share of the documents is not believed (docs/format.md)."""
FEW = 5


def is_mass_absence(*, absent: int, present: int, stored_rows: int) -> bool:
    """True if so much is gone that an accident of a few does not explain it: everything, or more
    than a fifth.

    `present` is what the log has, `absent` how much of that the store has not. Losses of up to
    `FEW` documents are believed unless nothing is left.
    """
    if present == 0 or absent == 0:
        return False
    if stored_rows == 0:
        return True
    return absent > FEW and absent > MASS_ABSENCE * present
