"""The JSON Schema of the configuration, as an editor uses it: good files pass, and bad ones as far as it can see."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from hotswap.core.config import configuration_schema
from tests.support.command_line import run_cli

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "conf").rglob("*.toml"))
BROKEN = sorted((Path(__file__).parent / "broken").glob("*.toml"))

BEYOND = {
    *("address-taken-twice", "admin-for-everybody", "route-to-nowhere", "route-twice", "route-among-many"),
    "headers-of-a-route",
    *("app-missing", "command-missing", "command-without-port", "interface-impossible", "listen-impossible"),
    *("compatibility-both", "tls-both-kinds", "tls-without-certificate", "no-routes", "empty", "port-too-high"),
    *(
        "certificate-missing",
        "directory-missing",
        "directory-is-file",
        "limit-of-the-server",
        "recycle-of-one",
        "python-missing",
        "user-unknown",
        "environment-reserved",
        "pool-name",
    ),
}
"""Needs a look at other tables, at the server or at the disk, which `check` does and no schema can."""


def problems(path: Path) -> list[str]:
    """What the schema has against a file."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return [error.message for error in jsonschema_rs.validator_for(configuration_schema()).iter_errors(document)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_good(path: Path) -> None:
    """An editor that knows the schema has nothing against it."""
    assert problems(path) == []


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_mistake_of_a_single_key_is_seen_by_an_editor(path: Path) -> None:
    """And what is beyond it is listed, so that nothing gets there by accident."""
    try:
        found = problems(path)
    except tomllib.TOMLDecodeError:
        return
    assert (found == []) is (path.stem in BEYOND), found


def test_it_is_a_schema_that_others_accept() -> None:
    """By the rules of its own draft, and printed as data."""
    printed = run_cli("schema")
    assert printed.code == 0
    jsonschema_rs.meta.validate(printed.document)
