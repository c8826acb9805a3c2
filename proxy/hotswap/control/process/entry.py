"""The proxy as a process: from a path of a configuration to an exit code."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext
from pathlib import Path

from hotswap.control.configuration.cautions import find_pinned_release, tell_cautions
from hotswap.control.configuration.loading import load_configuration, locate_problems
from hotswap.control.configuration.path import absolute_path, find_configuration
from hotswap.control.process.runtime import Runtime
from hotswap.control.takeover.new_process import take_kept_log
from hotswap.control.takeover.stub import be_stub
from hotswap.control.takeover.takeovers import call, open_inherited
from hotswap.control.telemetry.access import open_access_log
from hotswap.control.telemetry.logs import configure_logs
from hotswap.control.telemetry.uncaught import log_uncaught
from hotswap.core.config import Configuration
from hotswap.core.errors import ConfigError, Problem
from hotswap.processes.children import adopt_orphans
from hotswap.processes.open_files import raise_limit


def _read_configuration(config_path: Path | str | None) -> tuple[Path, Configuration]:
    # Absolute, because a reload reads it again.
    path = absolute_path(config_path) if config_path is not None else find_configuration()
    return path, load_configuration(path)


async def run_proxy(config_path: Path | str | None = None, *, old: int | None = None, attach: bool = False) -> int:
    """Run a proxy until it is stopped.

    Args:
        config_path: the configuration; None looks where `find_configuration` does.
        old: descriptor of a channel to the process to take over from.
        attach: take over from the process that runs with the same state directory.

    Returns:
        The exit code of the process.

    Raises:
        ConfigError: it cannot start with this configuration.
        CouldNotTakeOver: it was started to take over, and that did not come about.
    """
    path, config = _read_configuration(config_path)
    try:
        return await _run(path, config, old, attach)
    except ConfigError as error:
        raise locate_problems(error, path) from error


async def _run(path: Path, config: Configuration, old: int | None, attach: bool) -> int:
    channel = None
    if old is not None:
        channel = open_inherited(old)
    elif attach:
        channel = call(Path(config.proxy.state_dir))
    raise_limit()
    adopt_orphans()
    with closing(configure_logs(level=config.proxy.log_level.value, log_format=config.proxy.log_format.value)):
        log_uncaught()
        try:
            access = open_access_log(config.proxy.access_log, kept=take_kept_log(os.environ))
        except OSError as error:
            raise ConfigError(
                [Problem("proxy.access_log", config.proxy.access_log, f"a file that can be written; {error.strerror}")]
            ) from error
        with nullcontext() if access is None else closing(access):
            runtime = Runtime(path, config, access=access, old=channel)
            tell_cautions(runtime.parts.log, config)
            for caution in find_pinned_release(path):
                runtime.parts.log.warning("config.caution", detail=caution)
            await runtime.serve()
    parts = runtime.parts
    if parts.life.successor and os.getpid() == 1:
        # Nothing else is left in this process, so nobody minds that it blocks; and as its files are closed, nothing of
        # this loop can be unwound afterwards.
        os._exit(be_stub(parts.premises.directory, parts.life.successor))
    return 0
