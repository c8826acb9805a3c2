"""What the proxy says to its own service manager: sd_notify(3), when `NOTIFY_SOCKET` is set.

Nothing here raises or waits: a service manager that does not listen must not stop the proxy. With
`Type=notify-reload` systemd sends SIGHUP and waits for RELOADING=1, then READY=1; both are said around every
reload.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

import trio


class ServiceManager:
    """The other end of `NOTIFY_SOCKET`; speaking to it does nothing when there is none.

    Attributes:
        silent: another process is the main one, so this one must say nothing.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Find it by NOTIFY_SOCKET and WATCHDOG_USEC."""
        path = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL of the abstract namespace.
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._status = ""
        self.silent = False
        self._ready = False
        interval = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(interval) / 1_000_000 if interval.isdigit() and int(interval) and meant else None

    def ready(self) -> None:
        """Say that the proxy serves; once at boot, and after each reload."""
        self._ready = True
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; only once the proxy has been ready, because READY=1 ends it."""
        if self._ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Say that a reload has ended, in whatever way."""
        if self._ready:
            self._send("READY=1")

    def extend(self, seconds: float) -> None:
        """Ask for time: what is going on may last this long from now on."""
        if self._ready:
            self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def hand_over(self, pid: int) -> None:
        """Say that another process is the main one from now on, and that it serves; nothing is said afterwards.

        In one message, so that there is no moment without a main process.
        """
        self._send(f"MAINPID={pid}", "READY=1")
        self.silent = True

    def stopping(self) -> None:
        """Say that the proxy ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in words what the proxy does; saying it again sends nothing."""
        if text != self._status and not self.silent:
            self._status = text
            self._send(f"STATUS={text}")

    async def serve_watchdog(self) -> None:
        """Say twice in each interval that the loop turns, until cancelled; end at once when nobody asks."""
        while self.watchdog is not None:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog / 2)

    def _send(self, *assignments: str) -> None:
        if not self._address or self.silent:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            out.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)
