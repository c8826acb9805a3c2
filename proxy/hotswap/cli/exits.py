"""Exit codes of commands, and the errors that lead to them."""

from __future__ import annotations

from enum import IntEnum

from hotswap.cli.terminal import tell
from hotswap.core.errors import ConfigError


class ExitCode(IntEnum):
    """Exit code of a command."""

    DONE = 0
    FAILED = 1
    """It failed, or the proxy cannot be reached."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    REFUSED = 3
    """The proxy refused; the reason code was printed."""
    ROLLOUT_FAILED = 4
    """The rollout started and failed; what failed was printed."""


class CommandError(Exception):
    """Ends a command with an exit code; the first line of its message says why, further ones help.

    No exception of click, because what looks for the proxy raises it, and `healthcheck` looks without click.
    """

    def __init__(self, code: ExitCode, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = int(code)
        self.hints = hints

    def show(self) -> None:
        """Print it on standard error."""
        tell(self.message)
        for hint in self.hints:
            tell(f"  {hint}")


def invalid(error: ConfigError) -> CommandError:
    """Give the error for a configuration that cannot be used: every problem on a line of its own."""
    return CommandError(ExitCode.USAGE, "\n".join(str(problem) for problem in error.problems))
