"""The on-disk format and nothing else; see docs/format.md."""
