"""Adapters of `Embedder`: texts in, float32 vectors out."""
