"""`python -m backup_playbook.config check | schema`: check the configuration, or write the JSON schemas for editors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backup_playbook.config.load import DEFAULT_FOLDER, load_config
from backup_playbook.config.schema import schemas
from backup_playbook.core.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m backup_playbook.config", description=__doc__)
    parser.add_argument("action", choices=["check", "schema"])
    parser.add_argument("--folder", type=Path, help="the configuration to check, or the folder to write schemas into")
    options = parser.parse_args(arguments)
    return (
        check(options.folder)
        if options.action == "check"
        else write_schemas(options.folder or DEFAULT_FOLDER / "schema")
    )


def check(folder: Path | None) -> int:
    """Load the configuration and print the result; returns the exit code."""
    try:
        config = load_config(folder)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{config.folder} is right: sources {', '.join(config.sources)}; repositories {', '.join(config.repositories)}."
    )
    return 0


def write_schemas(folder: Path) -> int:
    """Write the JSON schemas into a folder; returns the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
