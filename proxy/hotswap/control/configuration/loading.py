"""The configuration as a file on this machine: what it names, and whether that exists.

What the text itself says is judged by `hotswap.core.config`; this module reads it, adds what only the disk can
tell (a directory that is missing, a key that does not belong to its certificate) and reports both in one
list.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import re
import shutil
import ssl
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from hotswap.control.configuration.error_pages import read_error_pages
from hotswap.control.configuration.outside import ReadTooSlow, is_barred, read_file, read_within
from hotswap.control.configuration.path import FILE_NAME, absolute_path, find_configuration
from hotswap.control.configuration.state_place import LONGEST_SOCKET, default_state_dir, state_dir_of
from hotswap.control.configuration.token_file import TokenFile
from hotswap.core.address import MAX_PATH_BYTES
from hotswap.core.config import Configuration, Draft, locate, parse_draft
from hotswap.core.config.conflicts import Raw, entries, tables
from hotswap.core.config.fields import resolve_path
from hotswap.core.config.findings import Finding
from hotswap.core.config.key_lines import Location
from hotswap.core.errors import MISSING, ConfigError, Problem, Verbatim
from hotswap.core.errors import written as quoted
from hotswap.edge.loop.permissions import group_id, user_id

LARGEST_FILE = 4 * 1024 * 1024
"""Bytes; more than that is not a configuration that a person wrote."""


def load_configuration(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    held: Collection[tuple[str, str]] = (),
    only_pool: str | None = None,
) -> Configuration:
    """Read a configuration file and everything it names that can be checked without starting anything.

    Relative paths are absolute afterwards, and `proxy.state_dir` is filled in. Nothing is created or changed.

    Args:
        path: the file; None looks where `find_configuration` does.
        environ: where RUNTIME_DIRECTORY, HOME, XDG_STATE_HOME and PATH are looked up.
        held: certificates with their keys that are in use already, so nobody needs to be allowed to read them again.
        only_pool: the one pool whose definition is wanted: what others name is not looked at on the disk, so that a
            directory of theirs that has gone keeps nobody from repairing this one.

    Raises:
        ConfigError: something is wrong; it lists every problem of text and disk together.
    """
    file = absolute_path(path) if path is not None else find_configuration()
    draft = parse_draft(_read(file), origin=str(file))
    missing = _find_missing(draft, file, environ, held) if only_pool is None else ()
    configuration = draft.accept((*missing, *_find_missing_of_pools(draft, environ, only_pool)))
    if configuration.proxy.state_dir:
        return configuration
    state_dir = default_state_dir(file, environ)
    return configuration.model_copy(update={"proxy": configuration.proxy.model_copy(update={"state_dir": state_dir})})


def _read(file: Path) -> str:
    try:
        content = read_file(file, LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError([describe_unreadable(file, error)]) from None
    if len(content) > LARGEST_FILE:
        size = Verbatim(f"of {len(content)} bytes or more")
        raise ConfigError([Problem("file", size, "a configuration of at most 4 MiB", str(file))])
    try:
        text = _decode(content)
    except UnicodeDecodeError as error:
        raise ConfigError([_not_utf8(file, content, error.start)]) from None
    if "\0" in text[:2]:
        raise ConfigError([_not_utf8(file, content, 0)])
    return text


def describe_unreadable(file: Path, error: OSError) -> Problem:
    """Say why a configuration cannot be read, and what to do."""
    if isinstance(error, FileNotFoundError):
        broken = file.is_symlink()
        found = Verbatim(f"a symbolic link to {os.readlink(file)}, which does not exist") if broken else MISSING
        way_out = 'name one that exists, or write one with "hotswap init"'
        return Problem("file", found, f"a configuration; {way_out}", str(file))
    if isinstance(error, IsADirectoryError):
        inside = file / FILE_NAME
        return Problem("file", Verbatim("a directory"), f"a file; name the file in it, such as {inside}", str(file))
    if isinstance(error, PermissionError):
        way_out = f"user {os.geteuid()} may not read it or not enter the way to it: see `namei -l {file}`"
        return Problem("file", Verbatim("not permitted"), f"readable; {way_out}", str(file))
    return Problem("file", Verbatim((error.strerror or str(error)).lower()), "a file that can be read", str(file))


def locate_problems(error: ConfigError, path: Path) -> ConfigError:
    """Add file and line to the problems of a configuration that was read before, as far as it can be read again.

    Args:
        error: what was wrong when the configuration was put to use.
        path: the file it is from.
    """
    if all(problem.file for problem in error.problems):
        return error
    with suppress(OSError, UnicodeDecodeError):
        return ConfigError(locate(error.problems, _decode(read_file(path, LARGEST_FILE)), origin=str(path)))
    return error


def _decode(content: bytes) -> str:
    """Decode a configuration: UTF-8, with a byte order mark or without."""
    return content.decode("utf-8-sig")


def _not_utf8(file: Path, content: bytes, start: int) -> Problem:
    """Say in which encoding a file seems to be, and how to save it in the right one; `start` is what cannot be read."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:2]:
        byte_order = "" if b"\0" not in content[:2] else "BE" if content.startswith(b"\0") else "LE"
        encoding, path, line, found = f"UTF-16{byte_order}", "file", 1, "UTF-16"
    else:
        encoding, path, line = "ISO-8859-1", "line", content.count(b"\n", 0, start) + 1
        found = f"with the byte 0x{content[start]:02x}, perhaps of ISO 8859-1"
    way_out = f"save it as UTF-8: iconv -f {encoding} -t UTF-8 {file} > new.toml"
    return Problem(path, Verbatim(found), f"UTF-8; {way_out}", str(file), line)


def _find_missing(
    draft: Draft, file: Path, environ: Mapping[str, str], held: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    """Find what a file names and this machine has not, beside what starts backends; wrong keys are passed over."""
    document, directory = draft.document, draft.directory
    proxy, admin = _table(document, "proxy"), _table(document, "admin")
    yield from _user(proxy)
    yield from _log(proxy, directory)
    yield from _sockets(proxy, file, environ)
    yield from _group(admin)
    yield from _token(admin, directory)
    for name, pool in tables(document, "pools"):
        yield from _error_pages(("pools", name, "error_pages"), _text(pool, "error_pages"), directory)
    for name, listener in tables(document, "listeners"):
        for index, entry in entries(listener, "bind"):
            yield from _accounts(("listeners", name, "bind", index), entry)
        for index, pair in entries(_table(listener, "tls"), "certificates"):
            yield from _certificate(("listeners", name, "tls", "certificates", index), pair, directory, held)


def _find_missing_of_pools(draft: Draft, environ: Mapping[str, str], only: str | None) -> Iterator[Finding]:
    """Find what pools name and this machine does not have; of one alone, when it is named."""
    directory = draft.directory
    for name, pool in tables(draft.document, "pools"):
        if only is not None and name != only:
            continue
        location = ("pools", name)
        yield from _directory(location, pool, directory)
        yield from _file(location, pool, "environment_file", directory)
        yield from _program(location, pool, directory, environ)
        yield from _sendfile(location, pool, directory)


def _sockets(proxy: Raw, file: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Find a state directory so deep that the kernel takes no path of a socket below it."""
    given = _text(proxy, "state_dir")
    state_dir = state_dir_of(file, given, environ)
    # Those of backends have names as short as that of the API where there is no room for more.
    longest = len(os.fsencode(f"{state_dir}/{LONGEST_SOCKET}"))
    if longest > MAX_PATH_BYTES:
        allowed = f"a directory for Unix sockets, whose paths have at most {MAX_PATH_BYTES} bytes"
        where = f"{allowed}; those in {state_dir} would have {longest}; name a shorter one"
        yield Finding(("proxy", "state_dir"), given or MISSING, where)


def _table(within: Raw, key: str) -> Raw:
    value = within.get(key)
    return value if isinstance(value, Mapping) else {}


def _text(within: Raw, key: str) -> str:
    value = within.get(key)
    return value if isinstance(value, str) and "\0" not in value else ""


def _look(where: Location, written: str, what: str, wanted: str, judge: Callable[[], str | None]) -> Iterator[Finding]:
    """Find what a judge says of a value, if anything, or after what is wanted why the judge could not look."""
    try:
        wrong = read_within(judge, what)
    except OSError as error:
        wrong = wanted + (error.strerror or type(error).__name__)
    if wrong is not None:
        yield Finding(where, written, wrong)


def _touch(path: str) -> None:
    if stat.S_ISFIFO(os.stat(path).st_mode):
        # Opening a pipe would wait for its writer, reading would take away what a backend needs.
        if not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    with open(path, "rb") as stream:
        stream.read(1)


def _file(location: Location, table: Raw, key: str, directory: str) -> Iterator[Finding]:
    written = _text(table, key)
    if written:
        path = resolve_path(written, directory)
        yield from _look((*location, key), written, path, f"a file that can be read; {path}: ", lambda: _touch(path))


def _pipe(location: Location, table: Raw, key: str, directory: str) -> Iterator[Finding]:
    """Find what OpenSSL, which opens files by itself, would wait for without end."""
    written = _text(table, key)
    path = resolve_path(written, directory)
    with suppress(OSError):  # that is told elsewhere
        if written and not read_within(lambda: stat.S_ISREG(os.stat(path).st_mode), path):
            yield Finding((*location, key), written, f"a regular file; {path} is none")


def _token(admin: Raw, directory: str) -> Iterator[Finding]:
    written = _text(admin, "token_file")
    if not written:
        return
    path = resolve_path(written, directory)
    try:
        TokenFile(Path(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its first line is empty"
        yield Finding(("admin", "token_file"), written, f"a file with the token in its first line; {path}: {reason}")


def _directory(location: Location, table: Raw, directory: str, key: str = "directory") -> Iterator[Finding]:
    written = _text(table, key)
    if written:
        path = resolve_path(written, directory)
        yield from _look((*location, key), written, path, f"a directory; {path}: ", lambda: _unusable(path))


def _sendfile(location: Location, pool: Raw, directory: str) -> Iterator[Finding]:
    roots = _table(pool, "sendfile")
    for prefix in roots:
        yield from _directory((*location, "sendfile"), roots, directory, prefix)


def _error_pages(location: Location, written: str, directory: str) -> Iterator[Finding]:
    if written:
        for wrong in read_error_pages(resolve_path(written, directory))[1]:
            yield Finding(location, written, wrong)


def _unusable(path: str) -> str | None:
    """Say what a directory should be and is not, or None when it is."""
    if not os.path.isdir(path):
        reason = "it is not a directory" if os.path.lexists(path) else "there is none: make it, or name another"
        if os.path.islink(path) and not os.path.exists(path):
            reason = f"it is a symbolic link to {os.readlink(path)}, which does not exist"
        return f"a directory; {path}: {reason}"
    return None if os.access(path, os.X_OK) else f"a directory that can be entered; {path}: not permitted"


def _program(location: Location, pool: Raw, directory: str, environ: Mapping[str, str]) -> Iterator[Finding]:
    written = _text(pool, "python")
    program = resolve_path(written, directory) if "/" in written else written

    def judge() -> str | None:
        found = shutil.which(program, path=environ.get("PATH"))
        if found:
            return None
        if os.path.isdir(resolve_path(written, directory)):
            return f"an interpreter; {program} is a directory: write {quoted(os.path.join(written, 'bin', 'python'))}"
        there = "there is none" if not os.path.lexists(program) else "it cannot be executed"
        return f"an interpreter; {program}: {there if '/' in program else 'there is none in PATH'}"

    if written:
        yield from _look((*location, "python"), written, program, f"an interpreter; {program}: ", judge)


def _certificate(location: Location, pair: Raw, directory: str, held: Collection[tuple[str, str]]) -> Iterator[Finding]:
    files = (resolve_path(_text(pair, "cert"), directory), resolve_path(_text(pair, "key"), directory))
    with suppress(ReadTooSlow):  # the next look tells it
        if files in held and read_within(lambda: any(map(is_barred, files)), files[0]):
            return
    unreadable = False
    for key in ("cert", "key"):
        for finding in (*_file(location, pair, key, directory), *_pipe(location, pair, key, directory)):
            unreadable = True
            yield finding
    cert, key_file = _text(pair, "cert"), _text(pair, "key")
    if unreadable or not cert or not key_file:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chain, key_path = resolve_path(cert, directory), resolve_path(key_file, directory)
    try:
        read_within(lambda: context.load_verify_locations(chain), chain)
    except ssl.SSLError:
        yield Finding((*location, "cert"), cert, "a certificate in PEM form; there is none in this file")
        return
    except OSError as error:
        yield Finding((*location, "cert"), cert, f"a file that can be read; {chain}: {error.strerror}")
        return
    try:
        # Without a password callback OpenSSL would ask for one at the terminal.
        read_within(lambda: context.load_cert_chain(chain, key_path, password=lambda: ""), key_path)
    except ReadTooSlow as error:
        yield Finding((*location, "key"), key_file, f"a file that can be read; {key_path}: {error.strerror}")
    except (ssl.SSLError, ValueError) as error:
        reason = str(getattr(error, "reason", None) or "").lower().replace("_", " ")
        words = reason or "there is none in PEM form in this file, or it has a password"
        yield Finding((*location, "key"), key_file, f"the private key, without password, of {cert}; {words}")


def _user(proxy: Raw) -> Iterator[Finding]:
    user = _text(proxy, "user")

    def judge() -> str | None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            name = re.split("[:.]", user)[0]
            with suppress(KeyError):
                pwd.getpwnam(name)
                return f"a user of this machine, whose groups it has then; write {quoted(name)}"
            return "a user of this machine; there is none of this name: make it with useradd, or leave user out"
        return None

    if user:
        yield from _look(("proxy", "user"), user, user, "a user of this machine; ", judge)


def _accounts(location: Location, entry: Raw) -> Iterator[Finding]:
    """Find an owner or a group of a socket that this machine does not have."""
    for key, what, number_of in (("owner", "user", user_id), ("group", "group", group_id)):
        named = str(entry.get(key, ""))
        wanted = f"a {what} of this machine, by name or number; "

        def judge(number_of: Callable[[str], int] = number_of, named: str = named, wrong: str = wanted) -> str | None:
            try:
                number_of(named)
            except (KeyError, ValueError):
                return f"{wrong}there is none of this name"
            return None

        yield from _look((*location, key), named, named, wanted, judge)


def _group(admin: Raw) -> Iterator[Finding]:
    group = _text(admin, "group")

    def judge() -> str | None:
        try:
            grp.getgrnam(group)
        except KeyError:
            return "a group of this machine; there is none of this name"
        return None

    if group:
        yield from _look(("admin", "group"), group, group, "a group of this machine; ", judge)


def _log(proxy: Raw, directory: str) -> Iterator[Finding]:
    written = _text(proxy, "access_log")
    folder = os.path.dirname(resolve_path(written, directory))
    wanted = "a path in a directory that exists; "

    def judge() -> str | None:
        return None if os.path.isdir(folder) else f"{wanted}{folder} does not: make it, or name another"

    if written not in {"", "-", "off"}:
        yield from _look(("proxy", "access_log"), written, folder, wanted, judge)
