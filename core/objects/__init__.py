"""Desired state: objects in Kubernetes' shapes, the store that holds them, their sources."""
