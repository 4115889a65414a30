"""The stages of one day: documents → chunks → embeddings. Each leaves checkpoints and can be
repeated, interrupted and resumed; none of them touches the log or the live store."""
