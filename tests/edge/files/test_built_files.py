"""What a build tool wrote, as it is answered: Django's collectstatic with hashed names."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from hotswap.core.config import RouteTable
from tests.support.stage import open_stage

COLLECT = """
import django, sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.admin", "django.contrib.staticfiles", "django.contrib.auth",
                    "django.contrib.contenttypes"],
    STATIC_URL="/static/",
    STATIC_ROOT=sys.argv[1],
    STORAGES={"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}},
)
django.setup()
from django.core.management import call_command
call_command("collectstatic", interactive=False, verbosity=0)
"""


@pytest.mark.fail_after(60)
async def test_what_collectstatic_wrote_is_answered(tmp_path: Path):
    """Every file; those with a hash for ever, and no other."""
    root = tmp_path / "staticfiles"
    await trio.to_thread.run_sync(
        partial(subprocess.run, [sys.executable, "-c", COLLECT, root], check=True, timeout=50)
    )
    hashed = set(json.loads((root / "staticfiles.json").read_text())["paths"].values())
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert len(hashed) > 50
    async with open_stage(routes=(RouteTable(path="/static/", files=str(root)),)) as stage:
        client = await stage.connect()
        for name in names:
            await client.send(f"GET /static/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, body = await client.read_response()
            assert body == (root / name).read_bytes()
            if name in hashed:
                digest = next(piece for piece in name.split(".")[1:] if len(piece) == 12)
                # One in three hundred has no letter among its digits, and is asked for again.
                assert b"immutable" in head or digest.isdigit() or digest.isalpha()
            else:
                assert b"no-cache" in head, name
