"""Owner, group and mode of the path of a Unix socket, as the configuration asks for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketPermissions:
    """Who may connect to a Unix socket: whoever may write to its path.

    Attributes:
        mode: permission bits; None leaves those that it was made with.
        owner: name or number of a user; empty leaves the one that made it.
        group: name or number of a group, likewise.
    """

    mode: int | None = None
    owner: str = ""
    group: str = ""

    def __str__(self) -> str:
        said = (f"owner {self.owner}" if self.owner else "", f"group {self.group}" if self.group else "")
        mode = "" if self.mode is None else f"mode {self.mode:04o}"
        return " and ".join(filter(None, (*said, mode)))
