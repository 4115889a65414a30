"""A first `policies.yaml`, proposed by asking a store, a Git repository or a feed what is there."""
