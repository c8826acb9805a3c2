"""The line that says why a backend ended, out of what servers and Python really write."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.core.pool.last_error import LONGEST, error_line, exit_words

FRAME = """
  File "<frozen importlib._bootstrap>", line 1204, in _gcd_import
  File "<frozen importlib._bootstrap>", line 1140, in _find_and_load_unlocked
"""

OUTPUTS = {
    "uvicorn, no module": (
        'ERROR:    Error loading ASGI app. Could not import module "shop".',
        'Error loading ASGI app. Could not import module "shop".',
    ),
    "uvicorn, no attribute": (
        'ERROR:    Error loading ASGI app. Attribute "missing" not found in module "good".',
        'Error loading ASGI app. Attribute "missing" not found in module "good".',
    ),
    "uvicorn, address in use": (
        "INFO:     Started server process [29437]\n"
        "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 80): address already in use",
        "[Errno 98] error while attempting to bind on address ('127.0.0.1', 80): address already in use",
    ),
    "uvicorn, startup": (
        """INFO:     Waiting for application startup.
ERROR:    Exception in 'lifespan' protocol
Traceback (most recent call last):
  File "/srv/shop/.venv/lib/uvicorn/lifespan/on.py", line 86, in main
    await app(scope, self.receive, self.send)
  File "/srv/shop/good.py", line 3, in app
    raise RuntimeError("database is down")
RuntimeError: database is down
ERROR:    Application startup failed. Exiting.""",
        "RuntimeError: database is down",
    ),
    "gunicorn, no module": (
        f"""[2026-11-30 00:02:44 +0000] [29345] [ERROR] Exception in worker process
Traceback (most recent call last):{FRAME}ModuleNotFoundError: No module named 'shop'
No module named 'shop'
[2026-11-30 00:02:44 +0000] [29345] [INFO] Worker exiting (pid: 29345)
[2026-11-30 00:02:44 +0000] [29344] [ERROR] Worker (pid:29345) exited with code 3.
[2026-11-30 00:02:44 +0000] [29344] [ERROR] Shutting down: Master
[2026-11-30 00:02:44 +0000] [29344] [ERROR] Reason: Worker failed to boot.""",
        "ModuleNotFoundError: No module named 'shop'",
    ),
    "gunicorn, no attribute": (
        """[2026-11-30 00:02:45 +0000] [29369] [INFO] Booting worker with pid: 29369
Failed to find attribute 'missing' in 'good'.
[2026-11-30 00:02:45 +0000] [29369] [INFO] Worker exiting (pid: 29369)
[2026-11-30 00:02:45 +0000] [29368] [ERROR] Worker (pid:29369) exited with code 4.
[2026-11-30 00:02:45 +0000] [29368] [ERROR] Shutting down: Master
[2026-11-30 00:02:45 +0000] [29368] [ERROR] Reason: App failed to load.""",
        "Failed to find attribute 'missing' in 'good'.",
    ),
    "gunicorn, address in use": (
        """[2026-11-30 00:02:53 +0000] [29440] [ERROR] Connection in use: ('127.0.0.1', 80)
[2026-11-30 00:02:53 +0000] [29440] [ERROR] connection to ('127.0.0.1', 80) failed: [Errno 98] Address already in use
[2026-11-30 00:02:54 +0000] [29440] [ERROR] Can't connect to ('127.0.0.1', 80)""",
        "connection to ('127.0.0.1', 80) failed: [Errno 98] Address already in use",
    ),
    "gunicorn, nothing but the usual": (
        "[2026-11-30 00:02:44 +0000] [29344] [ERROR] Reason: Worker failed to boot.",
        "[2026-11-30 00:02:44 +0000] [29344] [ERROR] Reason: Worker failed to boot.",
    ),
    "hypercorn, no module": (
        """Traceback (most recent call last):
  File "/srv/shop/.venv/lib/hypercorn/utils.py", line 102, in load_application
    raise NoAppError(f"Cannot load application from '{path}', module not found.")
hypercorn.utils.NoAppError: Cannot load application from 'shop:app', module not found.""",
        "hypercorn.utils.NoAppError: Cannot load application from 'shop:app', module not found.",
    ),
    "granian, no attribute": (
        """  File "/srv/shop/.venv/lib/granian/_internal.py", line 68, in load_target
    rv = getattr(rv, element)
         ^^^^^^^^^^^^^^^^^^^^
AttributeError: module 'good' has no attribute 'missing'
[ERROR] Unexpected exit from worker-1
[INFO] Shutting down granian
[INFO] Stopped worker-1
[INFO] Granian shutdown completed, see ya!""",
        "AttributeError: module 'good' has no attribute 'missing'",
    ),
    "granian, panic": (
        "thread 'main' panicked at src/workers.rs:51:10:\ncalled `Result::unwrap()` on an `Err` value: no socket\n"
        "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        "called `Result::unwrap()` on an `Err` value: no socket",
    ),
    "waitress, no module": (
        """    Allows channels to stay readable. Default is 0.


There was an exception (ModuleNotFoundError) importing your module.

It had these arguments:
1. No module named 'shop'
""",
        "ModuleNotFoundError: No module named 'shop'",
    ),
    "daphne, address in use": (
        "2026-11-30 00:02:55,212 INFO     Starting server at tcp:port=80:interface=127.0.0.1\n"
        "2026-11-30 00:02:55,213 CRITICAL Listen failure: Couldn't listen on 127.0.0.1:80: [Errno 98] in use.",
        "Listen failure: Couldn't listen on 127.0.0.1:80: [Errno 98] in use.",
    ),
    "a syntax error": (
        f'Traceback (most recent call last):{FRAME}  File "/srv/shop/views.py", line 7\n    def app(:\n            ^\n'
        "SyntaxError: invalid syntax",
        "SyntaxError: invalid syntax (views.py, line 7)",
    ),
    "no permission": (
        'Traceback (most recent call last):\n  File "/srv/shop/app.py", line 3, in <module>\n'
        "    open('/etc/shadow')\nPermissionError: [Errno 13] Permission denied: '/etc/shadow'",
        "PermissionError: [Errno 13] Permission denied: '/etc/shadow'",
    ),
    "the last of a chain, its first line": (
        """Traceback (most recent call last):
  File "/srv/shop/boom.py", line 4, in <module>
    os.environ["DATABASE_URL"]
KeyError: 'DATABASE_URL'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/boom.py", line 6, in <module>
    raise Weird("DATABASE_URL is not set\\nset it in the unit") from e
boom.Weird: DATABASE_URL is not set
set it in the unit""",
        "boom.Weird: DATABASE_URL is not set",
    ),
    "a setting that is missing": (
        """  File "/srv/shop/.venv/lib/pydantic/main.py", line 280, in __init__
    validated_self = self.__pydantic_validator__.validate_python(data, self_instance=self)
pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings
DATABASE_URL
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.14/v/missing""",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings: DATABASE_URL: "
        "Field required [type=missing, input_value={}, input_type=dict]",
    ),
    "an exception group": (
        """  + Exception Group Traceback (most recent call last):
  |   File "/srv/shop/grp.py", line 6, in <module>
  |     trio.run(main)
  | ExceptionGroup: Exceptions from Trio nursery (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/shop/grp.py", line 2, in f
    |     raise ValueError("x is wrong")
    | ValueError: x is wrong
    +------------------------------------""",
        "ValueError: x is wrong",
    ),
    "a shell": ("sh: 1: nosuchprog: not found", "sh: 1: nosuchprog: not found"),
    "a message of its own": ("reading settings\nno DATABASE_URL\n\n", "no DATABASE_URL"),
    "an earlier trouble": (
        """Traceback (most recent call last):
  File "/srv/shop/views.py", line 9, in cart
    raise ValueError("one request")
ValueError: one request
"""
        + "INFO:     192.0.2.1 - GET / 200\n" * 13
        + "ERROR:    no space left on device",
        "no space left on device",
    ),
    "nothing but information": ("INFO:     Finished server process [29437]", ""),
    "nothing": ("", ""),
}  # fmt: skip


@pytest.mark.parametrize(("output", "line"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_the_line_that_tells_why(output: str, line: str) -> None:
    """Of each of the servers, and of what Python and shells write."""
    assert error_line(output.split("\n")) == line


def test_where_no_line_looks_like_an_error_the_last_one_may_still_be_none() -> None:
    """After a start that took too long whatever was written last is no reason."""
    assert error_line(["loading 3 of 9 models"], any_line=False) == ""
    assert error_line(["ERROR: no model"], any_line=False) == "no model"


@pytest.mark.parametrize(
    ("code", "number", "output", "words"),
    [
        (1, None, ["ERROR: no module"], "exited with status 1: no module"),
        (0, None, [], "exited with status 0"),
        (
            None,
            signal.SIGKILL,
            ["ERROR: of yesterday"],
            "killed by SIGKILL, which the proxy did not send: was the machine out of memory?",
        ),
        (
            None,
            signal.SIGABRT,
            ["Fatal Python error: Aborted", "", "Current thread 0x00007f2dd2030b80 (most recent call first):"],
            "killed by SIGABRT: Fatal Python error: Aborted",
        ),
        (None, signal.SIGSEGV, ["ERROR: of yesterday"], "killed by SIGSEGV"),
        (None, 99, [], "killed by signal 99"),
        (137, None, [], "exited with status 137 (SIGKILL in what it had started)"),
        (None, None, [], "ended, with a status that nobody knows"),
    ],
)
def test_how_it_ended_and_why(code: int | None, number: int | None, output: list[str], words: str) -> None:
    """A kill is explained by nothing that was written before it."""
    assert exit_words(code=code, number=number, output=output) == words


@given(st.lists(st.text(max_size=400), max_size=60))
def test_whatever_a_backend_writes_gives_one_printable_bounded_line(output: list[str]) -> None:
    """A status, a page and a log show it."""
    line = error_line([one.replace("\n", " ") for one in output])
    assert len(line) <= LONGEST
    assert not {"\n", "\x1b", "\x00", "\r"} & set(line)
