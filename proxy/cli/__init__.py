"""The command line, the top floor: every verb an operator types.

`hotswap run` is the proxy itself; all other verbs speak to a running one over its admin API, so they need
nothing of it but an address. Data goes to standard output, everything else to standard error; the exit code says
how it went (`proxy.cli.exits`).

`endpoint` finds the proxy, `client` speaks to it, `following` watches a rollout, `terminal` prints; `group` is
the list of commands, which are in `running`, `watching`, `reloading`, `reporting` and `ordering`; `starter` writes a
first configuration, and `loading` has them start sooner.
"""

from __future__ import annotations

from proxy.cli.loading import loading


def main() -> None:
    """Do what the arguments of this process say, and end it with the exit code of that."""
    with loading():
        from proxy.cli.group import hotswap
    hotswap(prog_name="hotswap")
