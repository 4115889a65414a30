"""Where objects are kept: memory, a directory, S3."""
