"""What adapters of several engines share."""
