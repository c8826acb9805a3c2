"""Text from elsewhere, made harmless for a terminal."""

from __future__ import annotations

import re

# What a terminal would obey instead of show: C0 and C1 controls, apart from tab and newline.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escape_controls(text: str) -> str:
    r"""Write control characters as `\xNN`: what a backend or a client sends must not paint the operator's terminal."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
