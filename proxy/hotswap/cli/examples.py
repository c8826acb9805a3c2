"""Examples of each verb, for its help and for the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "run": (
        ("hotswap run", "with hotswap.toml in this directory"),
        ("hotswap run /etc/hotswap/shop.toml", "with another file"),
    ),
    "check": (("hotswap check", "before a reload"),),
    "init": (
        ("hotswap init", "for the app that is found here"),
        ("hotswap init --app shop.asgi:app", "for this one"),
    ),
    "status": (("hotswap status --watch", "until Ctrl-C"), ("hotswap status --json", "for a program")),
    "healthcheck": (("hotswap healthcheck", "exit code 0 when every pool serves"),),
    "reload": (("hotswap reload", "every pool, after new code is in place"), ("hotswap reload web api", "these two")),
    "apply": (("hotswap apply", "after hotswap.toml or a certificate changed"),),
    "rollouts": (("hotswap rollouts", "the last ones"), ("hotswap rollouts r7", "all of one")),
    "drain": (("hotswap drain web 0", "slot 0 gets no new requests"),),
    "readmit": (("hotswap readmit web 0", "slot 0 serves again"),),
    "pause": (
        ("hotswap pause web", "while the database is moved"),
        ("hotswap pause web --answer maintenance.html", "while it takes longer than visitors wait"),
    ),
    "resume": (("hotswap resume web", "after it was paused"),),
    "unlock": (("hotswap unlock web", "after a failed rollout"),),
    "abort": (("hotswap abort web", "when a rollout is not wanted any more"),),
    "events": (("hotswap events", "the last 20, then each that comes"), ("hotswap events --json", "for a program")),
    "takeover": (("hotswap takeover", "after hotswap itself was upgraded"),),
    "stop": (("hotswap stop", "and wait until it is gone"),),
    "schema": (("hotswap schema > hotswap.schema.json", "for an editor"),),
    "completion": (('eval "$(hotswap completion bash)"', "in ~/.bashrc"),),
    "version": (("hotswap version", "what is installed here"),),
}
"""Command lines by verb, each with what it is for."""


def example_lines(verb: str) -> list[str]:
    """Give the examples of a verb as lines of a shell, what each is for above it."""
    return [line for typed, why in EXAMPLES.get(verb, ()) for line in (f"# {why}", typed)]
