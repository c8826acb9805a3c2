"""What the configuration is told about the servers."""

from __future__ import annotations

import pytest

from hotswap.core.config import parse_draft
from hotswap.core.errors import ConfigError
from hotswap.core.server import REFUSED_ARGUMENTS, Server, refused_argument

FILE = """
[listeners.public]
bind = ["127.0.0.1:0"]
[[routes]]
pool = "web"
[pools.web]
server = "{server}"
app = "shop:app"
args = ["{argument}", "300"]
"""


@pytest.mark.parametrize(
    ("server", "argument"),
    [(server, argument) for server, refused in REFUSED_ARGUMENTS.items() for argument in refused],
)
def test_an_argument_that_no_slot_can_have_is_refused_with_the_reason(server: Server, argument: str):
    """At the place where it stands, in both ways of writing it."""
    for written in (argument, f"{argument}=300"):
        with pytest.raises(ConfigError) as found:
            parse_draft(FILE.format(server=server, argument=written), origin="/etc/hotswap.toml").accept()
        (problem,) = found.value.problems
        assert "pools.web.args[0]" in str(problem)
        assert "left out" in str(problem)


def test_the_way_out_of_a_limit_is_recycling():
    """Which is what such a limit is for."""
    for server, argument in (
        (Server.UVICORN, "--limit-max-requests"),
        (Server.GUNICORN, "--max-requests"),
        (Server.HYPERCORN, "--max-requests"),
        (Server.GRANIAN, "--workers-max-rss"),
    ):
        assert "recycle = {" in refused_argument(server, argument)


def test_other_arguments_are_the_servers_business():
    """One that begins alike, and one of another server."""
    assert not refused_argument(Server.GUNICORN, "--max-requests-jitter")
    assert not refused_argument(Server.UVICORN, "--max-requests")
