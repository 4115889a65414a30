"""Adapters of `Source`: histories of document changes in a fixed order."""
