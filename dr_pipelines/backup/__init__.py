"""Backup: the live store compared with the log, and a recovery point proven."""
