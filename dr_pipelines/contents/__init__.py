"""Reading of the contents of a recovery point or a store, without changing them."""
