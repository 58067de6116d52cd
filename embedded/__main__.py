"""The embedded stack from a shell: `python -m embedded up|down|status`.

eval "$(python -m embedded up)"      start everything, and set the environment that leads to it
"""

import argparse
import shlex
import sys
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.sample import configure
from embedded.stack import DEFAULT_DIRECTORY, Stack


def up(stack: Stack) -> int:
    stack.start()
    config = {"BACKUP_PLAYBOOK_CONFIG": str(configure(stack, stack.directory / "config"))}
    for name, value in {**stack.environment(), **stack.shell_environment(), **config}.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def down(stack: Stack, remove: bool) -> int:
    if remove:
        stack.remove()
    else:
        stack.stop()
    return 0


def status(stack: Stack) -> int:
    """The exit code is 0 when every part runs."""
    parts = stack.status()
    for part in parts:
        print(f"{part.name:<12} {'running' if part.running else 'stopped':<8} {part.directory}")
    if stack.slack.running:
        print(f"What Slack got: {stack.slack.url}")
    return 0 if all(part.running for part in parts) else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m embedded", description=__doc__.splitlines()[0])
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help="where the stack keeps its files")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", parents=[shared], help="start what does not run; print the environment as export lines")
    end = commands.add_parser("down", parents=[shared], help="stop everything; the data stays")
    end.add_argument("--remove", action="store_true", help="remove the data too")
    commands.add_parser("status", parents=[shared], help="say which parts run")
    arguments = parser.parse_args()
    try:
        stack = Stack(arguments.dir)
        if arguments.command == "up":
            return up(stack)
        return status(stack) if arguments.command == "status" else down(stack, arguments.remove)
    except EmbeddedError as error:
        print(f"embedded: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
