"""What people are told about collections."""
