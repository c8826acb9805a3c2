"""The trial of a new user: an app as its framework makes it, `hotswap init`, and rollouts under clients that count.

What the tutorials say is done by `tests/test_docs.py`; here the same two apps are under clients that keep their
connections, open fresh ones, and send bodies, while they are rolled in every strategy.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.clients import Client
from tests.support.command_line import run_cli
from tests.support.hotswap import run_hotswap
from tests.support.load import run_load

FASTAPI = """\
from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/")
async def greet():
    return "one"


@app.post("/")
async def size(request: Request):
    return len(await request.body())


@app.get("/healthz")
async def healthz():
    return {}
"""

DJANGO = """\
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def home(request):
    return HttpResponse(str(len(request.body)) if request.method == "POST" else '"one"')


def healthz(request):
    return HttpResponse("healthy")


urlpatterns = [path("", home), path("healthz", healthz)]
"""

BODY = b"x" * 20_000


class Kept(Client):
    """Requests over one connection as long as it lives."""

    kind = "keep-alive"
    pace = 0.02

    async def turn(self) -> None:
        """Ask, and every third time say something."""
        self.turns += 1
        connection = await self.kept()
        if self.turns % 3:
            answer = (await connection.request("GET", "/")).expect().body
            assert answer in (b'"one"', b'"two"'), answer
            self.count.generations.add(1 if b"one" in answer else 2)
        else:
            answer = (await connection.request("POST", "/", body=BODY)).expect().body
            assert answer == str(len(BODY)).encode(), answer


class Fresh(Kept):
    """The same over a new connection each time."""

    kind = "fresh"

    async def turn(self) -> None:
        """Come, ask, go."""
        self.abandon()
        await super().turn()


def write_fastapi(directory: Path) -> Path:
    """An app of one file; gives where the greeting is."""
    (directory / "main.py").write_text(FASTAPI, encoding="utf-8")
    return directory / "main.py"


def write_django(directory: Path) -> Path:
    """A project as `django-admin startproject` makes it, with two views; gives where the greeting is."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "shop", str(directory)], check=True)
    (directory / "shop" / "urls.py").write_text(DJANGO, encoding="utf-8")
    return directory / "shop" / "urls.py"


@pytest.mark.fail_after(120)
@pytest.mark.parametrize("write", [write_fastapi, write_django])
async def test_an_app_of_a_framework_is_rolled_over_under_load_without_a_failure(write, tmp_path: Path) -> None:
    """What `init` wrote is run as it is, but for its ports; the new code comes in, and no client sees more than it."""
    source = write(tmp_path)
    wrote = run_cli("init", str(tmp_path / "hotswap.toml"))
    assert wrote.code == 0, wrote.stderr
    config = (tmp_path / "hotswap.toml").read_text(encoding="utf-8").replace("127.0.0.1:8000", "127.0.0.1:0")
    config = config.replace('"127.0.0.1:9900"', f'"unix:{tmp_path}/admin.sock"')
    (pool,) = tomllib.loads(config)["pools"]
    async with run_hotswap(config, tmp_path) as hotswap:
        target = await hotswap.target()
        async with run_load({"plain": target}, kinds=(Kept, Fresh), clients=2, processes=[hotswap.pid]) as load:
            await load.wait_turns(10)
            source.write_text(source.read_text(encoding="utf-8").replace("one", "two"), encoding="utf-8")
            for generation in (2, 3):
                report = await hotswap.rollout(pool)
                assert (report["outcome"], report["generation"]) == ("done", generation)
                assert [slot["exchanges"]["cut"] for slot in report["slots"]] == [0, 0]
            await load.wait_turns(10)
        load.assert_unharmed()
        assert load.counts["plain keep-alive"].generations == {1, 2}, "both codes have answered"
        assert (await hotswap.fetch("/")).body == b'"two"'
