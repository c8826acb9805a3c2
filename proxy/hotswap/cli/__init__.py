"""The command line, the top floor: every verb an operator types.

`hotswap run` is the proxy itself; all other verbs speak to a running one over its admin API, so they need
nothing of it but an address. Data goes to standard output, everything else to standard error; the exit code says
how it went (`hotswap.cli.exits`).

`healthcheck` alone has a short cut past all of that: it is called every few seconds (`readiness`).

`endpoint` finds the proxy, `client` speaks to it, `following` watches a rollout, `terminal` prints; `group` is
the list of commands, with `examples` for their help; `starter` writes a first configuration, and `loading` has them
start sooner.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from hotswap.cli.loading import loading

MISSING = (
    "the Python package {package} is missing, which hotswap needs: install hotswap whole for {python} "
    "(python -m pip install hotswap), or in a checkout have both folders in the path, PYTHONPATH=proxy:backends"
)


def main() -> None:
    """Do what the arguments of this process say, and end it with the exit code of that."""
    if sys.argv[1:2] == ["healthcheck"]:
        from hotswap.cli.readiness import answer_quickly

        code = answer_quickly(sys.argv[2:])
        if code is not None:
            sys.exit(code)
    try:
        _run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in {"", __name__.partition(".")[0]}:
            raise
        sys.stderr.write(f"{MISSING.format(package=package, python=sys.executable)}\n")
        sys.exit(1)


def _run() -> None:
    with loading():
        import click

        from hotswap.cli.exits import ExitCode
        from hotswap.cli.group import hotswap
    for stream, descriptor in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, stream) is None:  # closed by whoever started this; what would open next must not take its place
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            setattr(sys, stream, open(descriptor, "w", closefd=False))  # noqa: SIM115  # for as long as the process lives
    try:
        hotswap(prog_name="hotswap")
    except OSError as error:
        with suppress(OSError):
            click.echo(_explain(error), err=True)
        os._exit(ExitCode.FAILED)  # what is left to be written would fail as well


def _explain(error: OSError) -> str:
    """Describe an OS error of a verb in words: mostly that nobody reads its output."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return "the working directory was deleted: go to another one, or name files by their whole path"
    where = "what was to be printed could not be written" if error.filename is None else os.fsdecode(error.filename)
    return f"{where}: {error.strerror or error}"
