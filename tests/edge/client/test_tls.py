"""TLS of listeners: which certificate is shown, self-signed ones, and what is no TLS where it should be."""

from __future__ import annotations

import ssl
import sys
from datetime import UTC, datetime

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hotswap.core.config import TlsTable
from hotswap.core.errors import ConfigError
from hotswap.edge.client.listener import OpenListener
from hotswap.edge.client.tls import AUTHORITY, ServerContext, open_context
from tests.support.certificates import Names
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(10)


def names_of(line: Line) -> set[str]:
    """The names in the certificate that a client was shown."""
    certificate = line.stream.getpeercert()  # type: ignore[attr-defined]
    return {name for _, name in certificate["subjectAltName"]}


async def served_over_tls(stage: Stage, context: ssl.SSLContext, name: str) -> Line:
    """A client that has had one answer."""
    client = await stage.connect_tls(context, name)
    await client.send(GET.replace(b"example.org", name.encode()))
    line = await stage.backend.accept()
    assert b"\r\nX-Forwarded-Proto: https\r\n" in await line.read_head()
    await line.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert (await client.read_response())[1] == b"ok"
    return client


async def test_the_certificate_is_chosen_by_name(tmp_path):
    """By the exact one, by a wildcard, else the first; and new ones are for new connections."""
    names = Names(tmp_path)
    table = TlsTable.model_validate(
        {"certificates": [names.files("a.example"), names.files("b.example"), names.files("*.c.example")]}
    )
    context = open_context(table, http2=False, authority_dir=tmp_path, where="x")
    async with open_stage(context=context) as stage:
        first = await served_over_tls(stage, names.client, "a.example")
        assert names_of(first) == {"a.example"}
        assert names_of(await served_over_tls(stage, names.client, "b.example")) == {"b.example"}
        assert names_of(await served_over_tls(stage, names.client, "x.c.example")) == {"*.c.example"}
        with pytest.raises(trio.BrokenResourceError):
            await stage.connect_tls(names.client, "d.example")  # shown the first, and does not trust it
        fresh = Names(tmp_path)
        table = TlsTable.model_validate({"certificates": [fresh.files("a.example")]})
        stage.plane.open_listener(
            OpenListener(
                name="public",
                table=stage.listener.table,
                sockets=stage.listener.sockets,
                context=open_context(table, http2=False, authority_dir=tmp_path, where="x"),
            )
        )
        assert names_of(await served_over_tls(stage, fresh.client, "a.example")) == {"a.example"}
        await first.send(GET)
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(OK)
        assert (await first.read_response())[1] == b"ok"


def test_what_operators_are_told_of_certificates(tmp_path):
    """The names and the end of each that is in use, and its file."""
    names = Names(tmp_path)
    for hosts in (["a.example"], ["a.example", "*.c.example"]):
        files = [names.files(host) for host in hosts]
        table = TlsTable.model_validate({"certificates": files})
        context = open_context(table, http2=False, authority_dir=tmp_path, where="x")
        assert isinstance(context, ServerContext)
        assert [facts.names for facts in context.facts] == [(host,) for host in hosts]
        assert [facts.file for facts in context.facts] == [one["cert"] for one in files]
    table = TlsTable.model_validate({"self_signed": ["localhost", "127.0.0.1"]})
    context = open_context(table, http2=False, authority_dir=tmp_path, where="x")
    assert isinstance(context, ServerContext)
    (facts,) = context.facts
    assert (facts.names, facts.addresses, facts.file) == (("localhost",), ("127.0.0.1",), None)
    assert facts.expires > datetime.now(UTC)


async def test_a_development_certificate_is_trusted_by_its_own_authority(tmp_path):
    """Which stays the same when the proxy starts again."""
    table = TlsTable(self_signed=("localhost",))
    context = open_context(table, http2=False, authority_dir=tmp_path, where="x")
    authority = (tmp_path / "development-ca.pem").read_bytes()
    client = ssl.create_default_context(cadata=authority.decode())
    context = open_context(table, http2=False, authority_dir=tmp_path, where="x")
    assert (tmp_path / "development-ca.pem").read_bytes() == authority
    assert (tmp_path / "development-ca.key").stat().st_mode & 0o077 == 0
    async with open_stage(context=context) as stage:
        await served_over_tls(stage, client, "localhost")


async def test_bytes_of_neither_tls_nor_http_on_a_tls_port_end_the_connection(tmp_path):
    """Without a hang; plain HTTP is answered in words (`test_handshake`)."""
    context = open_context(TlsTable(self_signed=("localhost",)), http2=False, authority_dir=tmp_path, where="x")
    async with open_stage(context=context) as stage:
        client = await stage.connect()
        await client.send(b"\x00\x01\x02\x03" * 8)
        await client.wait_broken()
        await stage.wait_connections(0)


async def test_a_handshake_has_its_time(tmp_path):
    """The header timeout."""
    context = open_context(TlsTable(self_signed=("localhost",)), http2=False, authority_dir=tmp_path, where="x")
    async with open_stage(context=context) as stage:
        client = await stage.connect()
        await client.send(b"\x16\x03\x01")
        await stage.wait_connections(1)
        await stage.let_pass(11)
        assert await client.wait_broken() == b""


async def test_tls_bytes_on_a_plain_port_are_refused():
    """400 and closed (F11)."""
    async with open_stage() as stage:
        client = await stage.connect()
        await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100)
        assert (await client.wait_broken()).startswith(b"HTTP/1.1 400 ")


def test_a_damaged_development_authority_is_a_problem_with_a_way_out(tmp_path):
    """It names the file, and without the file a new one is made."""
    table = TlsTable(self_signed=("localhost",))
    path = tmp_path / AUTHORITY
    open_context(table, http2=False, authority_dir=tmp_path, where="listeners.secure.tls")
    path.write_text("nothing that was ever a certificate")
    with pytest.raises(
        ConfigError, match=r"listeners\.secure\.tls\.self_signed must be .*; .*makes a new one"
    ) as caught:
        open_context(table, http2=False, authority_dir=tmp_path, where="listeners.secure.tls")
    assert caught.value.problems[0].value == str(path)
    path.unlink()
    open_context(table, http2=False, authority_dir=tmp_path, where="listeners.secure.tls")


async def test_long_bodies_pass_through_tls_with_slow_readers(tmp_path):
    """Every byte, both ways, and no more is kept than the limit."""
    context = open_context(TlsTable(self_signed=("localhost",)), http2=False, authority_dir=tmp_path, where="x")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "development-ca.pem"))
    size = 6 << 20
    body = bytes(range(256)) * (size // 256)
    async with open_stage(context=context) as stage:
        client = await stage.connect_tls(trusting)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, head + body)
            line = await stage.backend.accept()
            await line.read_head()
            await wait_all_tasks_blocked(0.01)  # nothing moves any more
            assert await line.read_exactly(size) == body
            nursery.start_soon(line.send, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
            http = next(iter(stage.plane.listeners["public"].connections))
            while not http.stream.backed_up:  # type: ignore[attr-defined]
                await trio.sleep(0.002)
            assert http.stream.unsent <= 600 * 1024  # type: ignore[attr-defined]
            assert (await client.read_response())[1] == body


def test_certificates_that_cannot_be_read_any_more_are_told_by_name(tmp_path, monkeypatch):
    """A proxy that had none so far gets some when its environment is gone."""
    monkeypatch.setitem(sys.modules, "hotswap.edge.client.certificates", None)
    table = TlsTable(self_signed=("localhost",))
    told = rf"listeners\.x\.tls .*hotswap\.edge\.client\.certificates is gone from {sys.prefix}"
    with pytest.raises(ConfigError, match=told):
        open_context(table, http2=False, authority_dir=tmp_path, where="listeners.x.tls")
