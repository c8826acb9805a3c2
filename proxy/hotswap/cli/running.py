"""The verbs `run`, `check`, `init`, `schema` and `version`, which need no running proxy."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

import click

from hotswap.cli.endpoint import Options
from hotswap.cli.exits import CommandError, ExitCode, invalid
from hotswap.cli.loading import UNUSED, leaving_out, loading
from hotswap.cli.terminal import put, put_json, tell
from hotswap.control.telemetry.version import PROGRAM_VERSION
from hotswap.core.errors import ConfigError

CONFIG = click.argument("config", required=False, metavar="[CONFIG]", type=click.Path(path_type=Path))
NAMED_CONFIG = click.option(
    "--config", "named", metavar="FILE", type=click.Path(path_type=Path), help="The same as CONFIG."
)


def _only_one(config: Path | None, named: Path | None) -> Path | None:
    """Give the configuration that was named, in one way or the other, behind the verb or before it.

    Raises:
        CommandError: two were.
    """
    before = click.get_current_context().ensure_object(Options).config
    named = before if named is None else named
    if config is not None and named is not None and config != named:
        raise CommandError(ExitCode.USAGE, f"two configurations are named, {config} and {named}; one is meant")
    return named if config is None else config


@click.command()
@CONFIG
@NAMED_CONFIG
@click.option("--attach", is_flag=True, help="Take over from the proxy that runs with the same state_dir.")
@click.option("--takeover-fd", type=int, hidden=True)
@click.option("--handoff-info", is_flag=True, hidden=True)
def run(config: Path | None, named: Path | None, attach: bool, takeover_fd: int | None, handoff_info: bool) -> None:
    """Run the proxy until it is stopped.

    CONFIG defaults to hotswap.toml in the working directory, then /etc/hotswap/hotswap.toml.

    SIGUSR2 reloads, SIGHUP re-reads the configuration, SIGTERM stops gracefully; a second SIGTERM stops at once.
    """
    config = _only_one(config, named)
    if handoff_info:
        from hotswap.control.configuration.path import find_configuration
        from hotswap.control.takeover.handoff_info import describe_handoff

        put_json(describe_handoff(find_configuration() if config is None else config))
        return
    # A trigger that comes before the proxy can take it is lost, and does not end it; there is nothing to stop yet.
    for number in (signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # What process 1 does not handle the kernel does not deliver.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(ExitCode.DONE))
    # Whoever started this may have blocked or ignored what we live by, and a blocked order to stop never comes.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Here and not above: the other verbs have no use for a whole proxy, and start in half the time.
    with loading(), leaving_out(UNUSED):
        import trio

        from hotswap.control.process.entry import run_proxy
        from hotswap.control.takeover.order import CouldNotTakeOver

    try:
        code = trio.run(partial(run_proxy, config, old=takeover_fd, attach=attach))
    except ConfigError as error:
        raise invalid(error) from None
    except CouldNotTakeOver as error:
        raise CommandError(ExitCode.FAILED, error.detail) from None
    # The interpreter takes its handlers back before the process is gone: one more order to stop, in these last
    # milliseconds, would make a failure of an end in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


@click.command()
@CONFIG
@NAMED_CONFIG
def check(config: Path | None, named: Path | None) -> None:
    """Say everything that is wrong with a configuration, without starting anything.

    The interpreter of each pool is asked whether it has the server and the app. Warnings are of what will disappoint.
    """
    from hotswap.control.configuration.path import find_configuration
    from hotswap.control.process.checking import check_configuration

    config = _only_one(config, named)
    try:
        path = find_configuration() if config is None else config
        checked = check_configuration(path)
    except ConfigError as error:
        raise invalid(error) from None
    loaded = checked.config
    counts = ((loaded.listeners, "listener"), (loaded.routes, "route"), (loaded.pools, "pool"))
    words = [f"{len(things)} {noun}{'' if len(things) == 1 else 's'}" for things, noun in counts]
    for caution in checked.cautions:
        tell(f"warning: {caution}")
    tell(f"{path}: good; {', '.join(words)}")


@click.command()
@click.argument("path", default="hotswap.toml", metavar="[PATH]", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--app", metavar="MODULE:ATTRIBUTE", help="What the server imports. Default: found in the directory.")
@click.option("--server", metavar="NAME", help="Default: one that is installed and speaks what the app speaks.")
@click.option(
    "--python",
    metavar="PATH",
    help="The interpreter of the app. Default: of the environment that is active, or beside the app.",
)
@click.option("--force", is_flag=True, help="Overwrite PATH if it exists.")
def init(path: Path, app: str | None, server: str | None, python: str | None, force: bool) -> None:
    """Write a commented configuration for the app in this directory."""
    from hotswap.cli.starter import Starter, detect_starter, starter_text

    detect = partial(detect_starter, path.absolute().parent, server=server, python=python)
    found = detect(app=app)
    if isinstance(found, Starter):
        starter = found
    elif sys.stdin.isatty():
        for name in found:
            tell(f"found: {name}")
        chosen = click.prompt("The app (MODULE:ATTRIBUTE)", default=found[0] if found else None, err=True)
        again = detect(app=chosen)
        assert isinstance(again, Starter), "an app was named"
        starter = again
    elif found:
        raise CommandError(ExitCode.USAGE, f"there are several apps here: {', '.join(found)}", "name one by --app")
    else:
        raise CommandError(ExitCode.USAGE, "no app was found here", "name it by --app, such as shop.asgi:app")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(starter_text(starter))
    except FileExistsError:
        raise CommandError(ExitCode.FAILED, f"{path} exists already", "overwrite it by --force") from None
    except OSError as error:
        raise CommandError(ExitCode.FAILED, f"{path} cannot be written: {error.strerror}") from None
    tell(f"written: {path} for {starter.app} under {starter.server}")
    interpreter = starter.interpreter
    if interpreter.path:
        tell(f"interpreter: {interpreter.path} ({interpreter.why})")
    else:
        tell(f"interpreter: {interpreter.program}, hotswap's own: no virtual environment of the app was found")
        tell("  if the app has one, name it by --python, or as python in the file")
    if not starter.installed:
        told = f"{interpreter.path or interpreter.program} -m pip install {starter.server}"
        tell(f"{starter.server} is not installed there yet: {told}")
    name = "" if path == Path("hotswap.toml") else f" {path}"
    tell(f"next: hotswap check{name}, then hotswap run{name}")


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from hotswap.core.config import configuration_schema

    put_json(configuration_schema())


@click.command()
def version() -> None:
    """Print the version."""
    put(f"hotswap {PROGRAM_VERSION}")
