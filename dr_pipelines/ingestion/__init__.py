"""From a source to the log: days, documents, chunks, embeddings, and what is refused on the way."""
