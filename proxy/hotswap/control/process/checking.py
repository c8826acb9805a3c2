"""Everything that a start would be refused or disappointed for, found without starting: what `hotswap check` tells."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from hotswap.control.configuration.authority_place import find_authority_dir
from hotswap.control.configuration.cautions import (
    find_cautions,
    find_expiring,
    find_pinned_release,
    read_certificates,
)
from hotswap.control.configuration.contents import read_contents
from hotswap.control.configuration.loading import load_configuration, locate_problems
from hotswap.control.configuration.outside import ReadTooSlow, read_within
from hotswap.control.configuration.path import absolute_path
from hotswap.control.configuration.state_place import ADMIN_SOCKET
from hotswap.control.pools.start_check import check_starts
from hotswap.control.process.privileges import identity_of, look_as_user, owner_of_state
from hotswap.control.process.state_directory import WANTED as WANTED_STATE
from hotswap.control.process.state_directory import find_holder, find_obstacles, may_give_to, real_place
from hotswap.core.address import Address, TcpAddress, UnixAddress
from hotswap.core.config import Configuration, StaticPoolTable
from hotswap.core.errors import ConfigError, Problem
from hotswap.edge.client.tls import AUTHORITY, open_context
from hotswap.edge.loop.permissions import may_give, why_not_permitted
from hotswap.edge.loop.sockets import WANTED, try_address, why_not_bound

LOOKUP_TIMEOUT: Final = 3.0
"""Seconds for the name of a static backend, which need not be there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A configuration with which a proxy can be started.

    Attributes:
        config: it.
        cautions: what will disappoint all the same, one sentence each.
    """

    config: Configuration
    cautions: tuple[str, ...]


def check_configuration(path: Path) -> Checked:
    """Check a configuration and all that it names on this machine; blocks for seconds where something does not answer.

    Nothing is created, changed or listened on, and nothing of an app is run.

    Args:
        path: the file.

    Raises:
        ConfigError: a start would be refused, or a pool could never come up; it lists every problem.
    """
    config = load_configuration(path)
    problems: list[Problem] = []
    cautions: list[str] = []
    try:
        # Whoever looks as root sees what only root does; the proxy will be somebody else.
        cautions += look_as_user(config, absolute_path(path))
    except ConfigError as error:
        problems += error.problems
    fault, stranger, other = _look_at_state(config, absolute_path(path))
    running = not other and is_running(config)
    if fault:
        problems.append(Problem("proxy.state_dir", config.proxy.state_dir, f"{WANTED_STATE}; {fault}"))
    elif not running:
        # Who checks, and when, may be another than who runs.
        barred = _find_barred(config, other or stranger)
        cautions += (f"{key}: now a start by user {os.geteuid()} would be refused: {why}" for key, why in barred)
    for where, address in _addresses(config):
        found = _try(where, address, running=running)
        if isinstance(found, Problem):
            problems.append(found)
        elif found:
            cautions.append(found)
    cautions += _permissions(config)
    problems += (*_files(config), *_contexts(config), *_contents(config))
    cautions += _names(config)
    environment = {**os.environ, **identity_of(config.proxy.user)}
    starts = check_starts(config.pools, environment, user=config.proxy.user)
    problems += starts.problems
    if problems:
        raise locate_problems(ConfigError(problems), absolute_path(path))
    cautions += [*starts.cautions, *find_cautions(config), *find_pinned_release(absolute_path(path))]
    expiring = find_expiring(read_certificates(config), datetime.now(UTC))
    return Checked(config=config, cautions=(*cautions, *expiring))


def is_running(config: Configuration) -> bool:
    """Tell whether a proxy runs with this configuration: it answers in its state directory."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1.0)
        try:
            return knock.connect_ex(os.path.join(config.proxy.state_dir, ADMIN_SOCKET)) in {0, errno.EAGAIN}
        except OSError:  # the path is too long, or nobody answers
            return False


def _files(config: Configuration) -> Iterator[Problem]:
    """Find what cannot be made or written, whoever starts the proxy."""
    proxy = config.proxy
    with suppress(OSError):  # a disk that does not answer is told by who uses it
        if proxy.access_log not in {"", "-", "off"} and _is_directory(proxy.access_log):
            yield Problem(
                "proxy.access_log",
                proxy.access_log,
                "a file that can be written; this is a directory: name a file in it",
            )


def _look_at_state(config: Configuration, path: Path) -> tuple[str, str, str]:
    """Say why nobody could have the state directory, why this user could not, and which other proxy has it."""
    place, owner = config.proxy.state_dir, owner_of_state(config.proxy.user)
    try:
        fault, stranger = read_within(partial(find_obstacles, place, owner=owner), place)
        return fault, stranger, read_within(partial(find_holder, real_place(place), path, same=False), place)
    except OSError:  # a disk that does not answer is told by who uses it
        return "", "", ""


def _find_barred(config: Configuration, state: str) -> Iterator[tuple[str, str]]:
    """Find the keys, each with the reason, that ask for what this user may not do.

    Args:
        config: the configuration.
        state: why this user may not have the state directory; empty: it may.
    """
    proxy, group = config.proxy, config.admin.group
    if state:
        yield "proxy.state_dir", state
    if proxy.user and os.geteuid() not in (0, pwd.getpwnam(proxy.user).pw_uid):
        yield "proxy.user", f"only root may become {proxy.user}"
    if group and not may_give_to(grp.getgrnam(group).gr_gid):
        yield "admin.group", f"it is not in {group}; as root: usermod -aG {group} USER"
    log = proxy.access_log
    with suppress(OSError):  # a disk that does not answer is told by who uses it
        if os.path.isabs(log) and not read_within(partial(_is_writable, log), log):
            yield "proxy.access_log", f"it may not write {log}"


def _is_writable(path: str) -> bool:
    if os.path.exists(path):
        return os.access(path, os.W_OK)
    return os.access(os.path.dirname(path), os.W_OK | os.X_OK)


def _contexts(config: Configuration) -> Iterator[Problem]:
    """Find the certificates that cannot be served with, and a development authority that is damaged."""
    becomes = owner_of_state(config.proxy.user) is not None
    place = find_authority_dir(Path(config.proxy.state_dir), os.environ, becomes=becomes)
    there = all(os.path.exists(place / name) for name in (AUTHORITY, Path(AUTHORITY).with_suffix(".key")))
    for name, listener in config.listeners.items():
        tls, where = listener.tls, f"listeners.{name}.tls"
        # An authority that is not there yet is made at the start, and not here.
        if tls is None or (tls.self_signed and not there):
            continue
        try:
            read_within(
                partial(open_context, tls, http2=listener.http2, authority_dir=place, where=where), f"tls of {name}"
            )
        except ConfigError as error:
            yield from error.problems
        except OSError as error:
            yield Problem(where, str(place), f"something that can be read; {error.strerror or error}")


def _contents(config: Configuration) -> Iterator[Problem]:
    """Find the files that would be read with the configuration, and cannot be, or are not what they should be."""
    try:
        read_contents(config)
    except ConfigError as error:
        yield from error.problems


def _names(config: Configuration) -> Iterator[str]:
    """Say which names of static backends cannot be looked up now; a start goes on, since they may be later."""
    for name, pool in config.pools.items():
        for index, address in enumerate(pool.addresses if isinstance(pool, StaticPoolTable) else ()):
            if not isinstance(address, TcpAddress):
                continue
            try:
                read_within(
                    partial(socket.getaddrinfo, address.host, address.port), str(address), timeout=LOOKUP_TIMEOUT
                )
            except (OSError, UnicodeError) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                yield f"pools.{name}.addresses[{index}]: {address.host} cannot be looked up: {why}"


def _is_directory(path: str) -> bool:
    return read_within(partial(os.path.isdir, path), path)


def _addresses(config: Configuration) -> Iterator[tuple[str, Address]]:
    for index, address in enumerate(config.admin.bind):
        yield f"admin.bind[{index}]", address
    for name, listener in config.listeners.items():
        for index, address in enumerate(listener.addresses):
            yield f"listeners.{name}.bind[{index}]", address


def _permissions(config: Configuration) -> Iterator[str]:
    """Say which sockets this user could not give to whom they are to belong; who runs may be another."""
    for name, listener in config.listeners.items():
        for index, (address, wanted) in enumerate(zip(listener.addresses, listener.permissions, strict=True)):
            if wanted is None or not isinstance(address, UnixAddress):
                continue
            with suppress(KeyError, OSError):  # which is a problem already
                if not read_within(partial(may_give, wanted), address.path):
                    yield f"listeners.{name}.bind[{index}]: {why_not_permitted(address.path, wanted)}"


def _try(where: str, address: Address, *, running: bool) -> Problem | str | None:
    """Say what is wrong with an address: certainly, or perhaps."""
    try:
        read_within(partial(try_address, address), str(address))
    except ReadTooSlow:
        return f"{where}: whether {address} can be had could not be found out in time"
    except (OSError, UnicodeError) as error:
        words = why_not_bound(address, error)
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            # What listens there may be this proxy, or the service manager for it.
            return None if running else f"{where}: {words}"
        if isinstance(error, PermissionError):
            # Who checks may be another than who runs.
            return f"{where}: {words}"
        return Problem(where, str(address), f"{WANTED}; {words}")
    return None
