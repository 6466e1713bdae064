"""YAML to values that know their line; JSON Schema from the dataclasses that hold them."""
