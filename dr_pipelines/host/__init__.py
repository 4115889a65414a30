"""This machine: who may read what is made on it, temporary files, optional packages."""
