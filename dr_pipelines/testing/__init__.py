"""Contract suites and fault layers for authors of adapters; imported by tests only."""
