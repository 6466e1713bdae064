"""Plait: a node's network datapath, generated from YAML and plugins."""

__version__ = "0.1.0"
