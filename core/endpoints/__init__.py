"""Workloads of this node: their veth pairs, their objects, and word of links that come and go."""
