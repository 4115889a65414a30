"""Proof of a recovery point: digests read back, trials, audits of ingested days."""
