"""What `make demo` prints beside the log."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import trio

from tests.support.hotswap import REPOSITORY, run_hotswap
from tests.support.pools import command_pool

PROGRAM = "backends/demo/welcome.py"
READY = "The demo is ready."


async def welcome(port: int, patience: float) -> str:
    """Run it, and give what it printed."""
    options = ("--admin", f"http://127.0.0.1:{port}", "--patience", str(patience))
    done = await trio.run_process([sys.executable, PROGRAM, *options], cwd=REPOSITORY, capture_stdout=True)
    return done.stdout.decode()


async def test_it_waits_until_the_proxy_is_ready_and_says_what_to_try(tmp_path: Path) -> None:
    """Not before, because nothing of it would work then."""
    config = (
        f'[admin]\nbind = ["unix:{tmp_path}/admin.sock", "127.0.0.1:0"]\n'
        '[listeners.public]\nbind = ["127.0.0.1:0"]\n[[routes]]\npool = "web"\n'
        + command_pool(tmp_path, "faulty", "slow-start", "--seconds", "1")
    )
    async with run_hotswap(config, tmp_path, wait_ready=False) as hotswap:
        line = await hotswap.wait_line("admin.listening")
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found is not None
        port = int(found[1])
        assert await welcome(port, patience=0.0) == "", "it gives up without a word"
        assert READY in await welcome(port, patience=20.0)
        await hotswap.wait_line("proxy.ready")


def test_what_it_says_fits_the_demo() -> None:
    """Ports and paths are those of the configuration that `make demo` runs, and `make demo` runs it."""
    recipe = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert PROGRAM in recipe
    assert "hotswap run conf/demo.toml" in recipe
    text = (REPOSITORY / PROGRAM).read_text(encoding="utf-8")
    demo = tomllib.loads((REPOSITORY / "conf" / "demo.toml").read_text(encoding="utf-8"))
    ports = {
        bind.rpartition(":")[2] for table in (demo["admin"], *demo["listeners"].values()) for bind in table["bind"]
    }
    assert set(re.findall(r"https?://[\w.]+:(\d+)", text)) == ports
