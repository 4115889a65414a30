"""VectorStore adapters, one vendor each."""
