"""Status reports for people who watch over collections."""
