"""Looks whether the backends of pools could be started at all: told by `hotswap check`, without starting any.

Each pool's own interpreter is asked, in the pool's directory, with its environment and as its user, whether it has the
server and the app (`hotswap_backends/presence.py`); nothing of the app is run. The pools are asked side by side, and
each answer has a deadline.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from hotswap.control.configuration.outside import read_within
from hotswap.control.pools.release import NOT_INHERITED, resolve_release
from hotswap.core.config import PoolTable, SupervisedPoolTable
from hotswap.core.errors import ConfigError, Problem
from hotswap.core.server import Server
from hotswap.processes.children import note_child
from hotswap.processes.open_files import give_back_limit
from hotswap.processes.scripts import read_script

ANSWER_TIMEOUT: Final = 15.0
"""Seconds that an interpreter may take to answer."""

MOST_AT_ONCE: Final = 8
"""Interpreters that are asked at the same time."""

_PRESENCE: Final = read_script("hotswap_backends", "presence.py")
"""What an interpreter is given to run. Read at the start: the environment of the proxy may be moved away under it."""

_LARGEST_ANSWER: Final = 256 * 1024

_SEARCH_OPTIONS: Final[Mapping[Server, tuple[str, ...]]] = {
    Server.UVICORN: ("--app-dir",),
    Server.GUNICORN: ("--chdir", "--pythonpath"),
    Server.GRANIAN: ("--working-dir",),
}
"""Arguments of servers that say where the app is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCheck:
    """What would keep backends from starting.

    Attributes:
        problems: what is certain, in the order of the pools.
        cautions: what could not be found out, one sentence each.
    """

    problems: tuple[Problem, ...] = ()
    cautions: tuple[str, ...] = ()


def check_starts(pools: Mapping[str, PoolTable], environment: Mapping[str, str], *, user: str = "") -> StartCheck:
    """Look whether the backends of supervised pools could be started; blocks for as long as the slowest answer takes.

    Args:
        pools: the tables, by name.
        environment: the variables of the proxy.
        user: whose the backends will be; ignored by who is not root.
    """
    supervised = {name: table for name, table in pools.items() if isinstance(table, SupervisedPoolTable)}
    if not supervised:
        return StartCheck()
    with ThreadPoolExecutor(max_workers=MOST_AT_ONCE) as threads:
        found = list(
            threads.map(lambda item: check_start(item[0], item[1], environment, user=user), supervised.items())
        )
    return StartCheck(
        problems=tuple(problem for one in found for problem in one.problems),
        cautions=tuple(caution for one in found for caution in one.cautions),
    )


def check_start(pool: str, table: SupervisedPoolTable, environment: Mapping[str, str], *, user: str = "") -> StartCheck:
    """Look whether the backends of one pool could be started; see `check_starts`."""
    key = f"pools.{pool}"
    try:
        directory, variables, recipe = resolve_release(pool, table, environment)
    except ConfigError as error:
        return StartCheck(problems=error.problems)
    program = recipe.argv[0]
    preset = table.server is not Server.COMMAND
    asker = [program] if preset else [sys.executable, "-I", "-S"]
    question = _question(table) if preset else {"program": program}
    try:
        answer = _ask(asker, question, directory, variables, user)
    except TimeoutError:
        return StartCheck(cautions=(f"{key}: {asker[0]} did not say within {ANSWER_TIMEOUT:g} s what it has",))
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if preset:
            wanted = f"an interpreter that runs; {program}: {why}"
            return StartCheck(problems=(Problem(f"{key}.python", table.python or program, wanted),))
        return StartCheck(cautions=(f"{key}.command: it could not be looked for: {why}",))
    if not preset:
        wrong = answer.get("wrong")
        wanted = f"a program and its arguments; {wrong}"
        return StartCheck(problems=(Problem(f"{key}.command", list(table.command), wanted),) if wrong else ())
    problems = tuple(_judge(key, table, program, directory, answer))
    if problems and _looks_elsewhere(table, directory, variables) and answer.get("server"):
        # A file of the server's own may say where the app is, and only the server reads it.
        return StartCheck(cautions=tuple(str(problem) for problem in problems))
    return StartCheck(problems=problems)


def _question(table: SupervisedPoolTable) -> dict[str, object]:
    module, _, attribute = table.app.partition(":")
    name = re.match(r"[A-Za-z_]\w*", attribute)
    asked = module if all(part.isidentifier() for part in module.split(".")) else ""
    return {
        "server": table.server.value,
        "module": asked,
        "attribute": name[0] if name else "",
        "paths": [*_search_paths(table), ""],
    }


def _search_paths(table: SupervisedPoolTable) -> list[str]:
    """Give the directories that arguments of the server name, in which it looks for the app first."""
    found: list[str] = []
    for option in _SEARCH_OPTIONS.get(table.server, ()):
        for number, argument in enumerate(table.args):
            if argument == option and number + 1 < len(table.args):
                found = [*table.args[number + 1].split(","), *found]
            elif argument.startswith(f"{option}="):
                found = [*argument.partition("=")[2].split(","), *found]
    return found


def _looks_elsewhere(table: SupervisedPoolTable, directory: str, variables: Mapping[str, str]) -> bool:
    """Whether a configuration of the server itself may change where it looks for the app."""
    if table.server is not Server.GUNICORN:
        return False
    named = any(re.match(r"-c|--config|-e|--env", argument) for argument in table.args)
    return named or "GUNICORN_CMD_ARGS" in variables or os.path.exists(os.path.join(directory, "gunicorn.conf.py"))


def _judge(
    key: str, table: SupervisedPoolTable, program: str, directory: str, answer: Mapping[str, Any]
) -> list[Problem]:
    """Give what is certainly wrong with a server and an app, by what their interpreter answered."""
    problems: list[Problem] = []
    server = table.server.value
    if not answer["server"]:
        whose = f"{program} has it not" if table.python else f"{program}, the proxy's own interpreter, has it not"
        other = "" if table.python else f"; or name the interpreter of the app: {key}.python"
        wanted = f"a server that is installed; {whose}, so: {_installing(program, server, pip=answer['pip'])}{other}"
        problems.append(Problem(f"{key}.server", server, wanted))
    module, _, attribute = table.app.partition(":")
    near = "".join(f'; did you mean "{name}"?' for name in answer.get("near", ()))
    if answer.get("missing"):
        missing = answer["missing"]
        wanted = f"a module that exists, and an attribute of it; {program} finds no module {missing} in {directory}"
        if answer["below"] == "src":
            # In a src layout the app still runs in the project, where its other files are.
            wanted += '; it is there with environment = { PYTHONPATH = "src" }'
        elif answer["below"]:
            folder = os.path.normpath(os.path.join(table.directory, answer["below"]))
            wanted += f'; it is there with directory = "{folder}"'
        problems.append(Problem(f"{key}.app", table.app, wanted + near))
    elif answer.get("broken"):
        wanted = f"a module that can be imported; {answer['broken']}"
        problems.append(Problem(f"{key}.app", table.app, wanted))
    elif answer.get("has") is False:
        where = answer["file"] or f"{module}, a directory without __init__.py,"
        name = re.match(r"\w*", attribute)
        wanted = f"an attribute of the module; {where} has no {name[0] if name else attribute}{near}"
        problems.append(Problem(f"{key}.app", table.app, wanted))
    return problems


def _installing(program: str, server: str, *, pip: bool) -> str:
    """Give the command that installs a server for an interpreter."""
    if pip or shutil.which("uv") is None:
        return f"{program} -m pip install {server}"
    return f"uv pip install --python {program} {server}"


def _ask(
    asker: list[str], question: Mapping[str, object], directory: str, variables: Mapping[str, str], user: str
) -> dict[str, Any]:
    """Have an interpreter answer a question; blocks.

    Raises:
        TimeoutError: it takes longer than `ANSWER_TIMEOUT`.
        OSError: it cannot be started.
        ValueError: it answers something else; the message is the last line of its complaint.
    """
    argv = [*asker, "-c", _PRESENCE, json.dumps(question)]
    # Files and not pipes: what is started by some sitecustomize may hold a pipe open for ever.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaint:
        process = read_within(
            lambda: subprocess.Popen(
                argv,
                cwd=directory,
                env={name: value for name, value in variables.items() if name not in NOT_INHERITED},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaint,
                start_new_session=True,
                **_identity(user),
            ),
            asker[0],
            timeout=ANSWER_TIMEOUT,
            late=lambda late: late.kill(),
        )
        note_child(process.pid)
        give_back_limit(process.pid)
        try:
            process.wait(ANSWER_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        complaint.seek(0)
        said = output.read(_LARGEST_ANSWER).decode("utf-8", "replace").strip().rpartition("\n")[2]
        try:
            answer = json.loads(said)
        except ValueError:
            last = complaint.read(_LARGEST_ANSWER).decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise ValueError(last[-300:] or f"it ended with {process.returncode} and without an answer") from None
    if not isinstance(answer, dict):
        raise ValueError(f"it answered {said[:100]}")
    return answer


def _identity(user: str) -> dict[str, Any]:
    """Give what makes a child the process of a user; nothing where that is not asked for or not possible."""
    if not user or os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return {}
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
