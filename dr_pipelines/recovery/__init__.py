"""Recovery: a plan, and the run that follows it."""
