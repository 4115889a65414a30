"""What dr_pipelines costs, measured beside something anyone can run: `make bench`."""
