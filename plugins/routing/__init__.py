"""Routing: which way a packet leaves the node, or into which pod."""
