"""The token of the admin API, in a file (`[admin].token_file`)."""

from __future__ import annotations

import contextlib
import errno
import hmac
import os
from pathlib import Path

from hotswap.control.configuration.outside import ReadTooSlow, read_within

MOST_TOKEN_MODE = 0o640
"""What may be allowed to owner, group and others on the file of the token."""

PATIENCE = 0.1
"""Seconds that the loop waits for the file, once, when it lies on a disk that does not answer."""


class TokenFile:
    """The token that callers have to send, read again whenever the file has changed."""

    def __init__(self, path: Path) -> None:
        """Read it for the first time.

        Raises:
            OSError: it cannot be read, or others than its owner and group can.
            ValueError: its first line is empty.
        """
        self._path = path
        self._token, self._stamp = read_within(self._read, str(path))
        self._looking = False

    def matches(self, authorization: str) -> bool:
        """Tell whether an `Authorization` field carries the token; the time taken does not tell how nearly.

        It is called in the loop, so a file that does not answer is not waited for: until it does, the old token holds.
        """
        if not self._looking:
            self._looking = True
            with contextlib.suppress(ReadTooSlow):
                read_within(self._refresh, str(self._path), timeout=PATIENCE)
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1"), self._token)

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._stamp:
                self._token, self._stamp = self._read()
        except (OSError, ValueError):
            pass  # while it is being replaced the old one holds
        finally:
            self._looking = False

    def _read(self) -> tuple[bytes, tuple[int, int]]:
        with self._path.open("rb") as stream:
            line = stream.readline(4096).strip()
            stat = os.fstat(stream.fileno())
        if stat.st_mode & 0o777 & ~MOST_TOKEN_MODE:
            raise PermissionError(
                errno.EACCES,
                f"mode {stat.st_mode & 0o777:04o} lets others read or change it; chmod 600 it",
                str(self._path),
            )
        if not line:
            raise ValueError(f"{self._path}: the first line is empty; it has to hold the token of the admin API")
        return line, (stat.st_mtime_ns, stat.st_ino)
