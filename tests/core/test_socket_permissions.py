"""Permissions of a Unix socket in words, as messages have them."""

from __future__ import annotations

import pytest

from hotswap.core.socket_permissions import SocketPermissions


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        (SocketPermissions(), ""),
        (SocketPermissions(mode=0o60), "mode 0060"),
        (SocketPermissions(owner="www-data", mode=0o660), "owner www-data and mode 0660"),
        (SocketPermissions(owner="1", group="2", mode=0), "owner 1 and group 2 and mode 0000"),
    ],
)
def test_they_say_what_is_asked_for(permissions: SocketPermissions, words: str) -> None:
    """And nothing of what is left as it is."""
    assert str(permissions) == words
