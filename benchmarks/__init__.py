"""Costs of dr_pipelines, measured beside something anyone can run: `make bench`."""
