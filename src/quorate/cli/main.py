"""The command's root: knows the subcommands, and turns every expected failure into one line."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from quorate._version import __version__
from quorate.config_mistakes import WrongSettings
from quorate.errors import AddressUnavailable, ConfigError, QuorateError, RemovedFromCluster

COMMANDS = {
    "node": "quorate.cli.node",
    "worker": "quorate.cli.worker",
    "status": "quorate.cli.status",
    "members": "quorate.cli.members",
    "tasks": "quorate.cli.tasks",
    "demo": "quorate.cli.demo",
    "doctor": "quorate.cli.doctor",
    "inspect": "quorate.cli.inspect",
    "recover": "quorate.cli.recover",
    "simulate": "quorate.cli.simulate",
    "nemesis": "quorate.cli.nemesis",
    "bench": "quorate.cli.bench",
    "chaos": "quorate.cli.chaos",
}
"""Each command is what its module has of the same name: a function, or a group of commands."""
HIDDEN = frozenset({"nemesis"})

_JARGON = re.compile(r"Value error, |, unable to parse string as an? \w+")
REMOVED = 3
"""The exit code of a node that is no member any more: starting it again is of no use."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"quorate {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def application(arguments: Sequence[str]) -> typer.Typer:
    """The commands; of these only the one that ``arguments`` call, if they do.

    What the others need is a quarter of the memory that a node takes, and half of the time until it begins.
    """
    app = typer.Typer(
        name="quorate",
        help="Replicated, fault-tolerant state, with no database, broker or coordinator beside it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    called = [arguments[0]] if arguments and arguments[0] in COMMANDS else COMMANDS
    for name in called:
        command = getattr(importlib.import_module(COMMANDS[name]), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(hidden=name in HIDDEN)(command)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 failed, 2 called wrongly, 3 this node was removed, 130 interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = application(given)(args=given, prog_name="quorate", standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "quorate"
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        if not message:  # it was called without a subcommand, and has shown its help
            sys.exit(2)
        _fail(f"{command}: {_plain(message)} Try '{command} --help'.", code=2)
    except (typer.Abort, KeyboardInterrupt):
        _fail("quorate: interrupted", code=130)
    except RemovedFromCluster as error:
        _fail(f"quorate: {error}", code=REMOVED)
    except WrongSettings as error:
        _fail(*(f"quorate: {line}" for line in error.lines), code=2)
    except AddressUnavailable as error:
        _fail(f"quorate: {error}", code=1)
    except ConfigError as error:
        _fail(f"quorate: {error}", code=2)
    except QuorateError as error:
        _fail(f"quorate: {error}", code=1)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _plain(message: str) -> str:
    """What the libraries say of a value, as a sentence and without their jargon."""
    plain = _JARGON.sub("", message).replace("Input should be", "it should be")
    return plain if plain.endswith((".", "?")) else f"{plain}."


def _fail(*lines: str, code: int) -> None:
    for line in lines:
        typer.echo(" ".join(line.split()), err=True)
    sys.exit(code)
