"""What turns a source into rows: sources, chunkers, embedders, and the checks between them."""
