"""The pytest plugin: fixtures for packet tests and labs."""
