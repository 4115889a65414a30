"""A policies file and everything that it names."""
