"""The Dagster code location: assets open a project, call one verb and report what it said."""
