"""policies.yaml: where each key stands, what is wrong with it, and its JSON Schema."""
