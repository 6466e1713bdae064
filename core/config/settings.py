"""One frozen dataclass per section: it gives the JSON Schema, the defaults and the reference."""
