"""What a recovery point or a store holds, read without changing it."""
