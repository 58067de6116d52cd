"""JSON schemas of the configuration files, for completion and checks in editors."""

from __future__ import annotations

import json

from backup_playbook.config.load import FILES


def schemas() -> dict[str, str]:
    """JSON schema of each configuration file, by its file name (`sources.schema.json`)."""
    return {
        f"{file.removesuffix('.yaml')}.schema.json": json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}, indent=2
        )
        + "\n"
        for file, model in FILES.items()
    }
