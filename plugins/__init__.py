"""The bundled plugins. Each one uses `plait.core.api` and nothing else of Plait."""
