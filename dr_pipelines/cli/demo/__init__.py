"""A disaster and its recovery in miniature, on the example corpus or any change feed."""
