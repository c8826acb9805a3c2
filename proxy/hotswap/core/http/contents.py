"""Contents of the files that a configuration names and that are read together with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hotswap.core.http.password_hash import PasswordHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in those files.

    Attributes:
        users: of each `basic_auth` file, by its path: the hash of each user's password.
        pages: of each pool with `error_pages`, by its name: the page of each status, HTML in UTF-8.
    """

    users: Mapping[str, Mapping[str, PasswordHash]] = field(default_factory=dict)
    pages: Mapping[str, Mapping[int, bytes]] = field(default_factory=dict)


NO_CONTENTS: Final = Contents()
"""Those of a configuration that names no such files."""
