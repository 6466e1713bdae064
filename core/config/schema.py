"""The JSON Schema of a whole config: the node, its objects, and a section per feature."""

from collections.abc import Sequence

from plait.core.api.contract import Feature
from plait.core.config.model import NodeConfig
from plait.core.config.settings import Schema, json_schema

API_VERSION = "plait/v1"


def composed_schema(features: Sequence[Feature]) -> Schema:
    """JSON Schema (2020-12) of a config whose features are these."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Plait config",
        "type": "object",
        "properties": {
            "apiVersion": {
                "description": "version of the config's shape",
                "type": "string",
                "const": API_VERSION,
            },
            "node": {"description": "this node", **json_schema(NodeConfig)},
            "objects": {
                "description": "files and folders of objects; relative to the config",
                "type": "array",
                "items": {"type": "string"},
                "default": [],
            },
            "features": {
                "description": "what the datapath does; a key with no value takes the defaults",
                "type": ["object", "null"],
                "properties": {
                    feature.key: {"description": feature.summary, **json_schema(feature.config)}
                    for feature in features
                },
                "additionalProperties": False,
            },
        },
        "required": ["apiVersion", "node"],
        "additionalProperties": False,
    }
