"""Adapters of `Chunker`: consecutive pieces that joined in order are the text again."""
