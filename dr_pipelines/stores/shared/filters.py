"""Filters as engines take them."""


class Inexpressible(Exception):  # a question that another answers, and no failure
    """An engine has no words for what is asked: every record is read instead."""
