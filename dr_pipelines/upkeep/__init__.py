"""Keeping a repository and its stores small: compaction, dropping what is no longer served."""
