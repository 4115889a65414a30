"""Backup and disaster recovery for vector stores; see docs/architecture.md."""

__version__ = "0.1.0"
