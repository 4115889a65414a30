"""The live store: bringing it to what the log holds, and reading it back."""
