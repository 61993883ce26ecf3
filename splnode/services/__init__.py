"""The node's own services, one file for each protocol: ordinary implementations, nothing privileged."""
