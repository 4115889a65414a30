"""Code that adapters of several engines share."""
