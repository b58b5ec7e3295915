"""The studio from a shell: python -m engine COMMAND. The commands are in `engine.cli`."""

from __future__ import annotations

import argparse
import json
import sys

from engine.cli import COMMANDS
from engine.errors import StudioError

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine", description="Graft from a shell. The workspace is the folder GRAFT_HOME names, ~/graft by default."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        entry = commands.add_parser(command.name, help=command.words, description=f"{command.words[0].upper()}{command.words[1:]}.")
        entry.add_argument("--json", action="store_true", help="print one JSON object")
        command.add_options(entry)
        entry.set_defaults(command=command)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 2 for a mistake that a sentence on stderr explains."""
    given = _parser().parse_args(arguments)
    try:
        answer = given.command.run(given)
    except StudioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{json.dumps(answer.value, ensure_ascii=False, default=str) if given.json else answer.text}\n")
    return answer.code


if __name__ == "__main__":
    sys.exit(main())
