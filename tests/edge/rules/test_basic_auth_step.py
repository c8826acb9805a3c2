"""Routes that ask for a user: who passes, who is refused, and what guessing costs others."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from hotswap.core.config import RouteTable
from hotswap.core.http.contents import Contents
from hotswap.core.http.password_hash import PasswordHash, parse_hash
from hotswap.edge.rules.known_credentials import KNOWN_SECONDS, MOST_KNOWN, KnownCredentials
from hotswap.edge.rules.password_verifier import FAILURES_AT_ONCE, LONGEST_WAIT, MOST_JOINED, MOST_WAITING
from tests.support.http2_client import connect_http2
from tests.support.http2_frames import GET as GET_FIELDS
from tests.support.stage import GET, OK, Line, Stage, open_stage

pytestmark = pytest.mark.fail_after(15)

FILE = "/etc/users"
ROUTE = RouteTable(pool="web", basic_auth=FILE)
FIRST = b'WWW-Authenticate: Basic realm="Restricted", charset="UTF-8"\r\n'


class Vault:
    """The hash of "right", which tells how often it was looked at, and keeps whoever does waiting while it is shut."""

    def __init__(self) -> None:
        self.looks: list[bytes] = []
        self.opened = threading.Event()
        self.opened.set()
        self.fault: Exception | None = None
        self.hashed = PasswordHash("a hash", self.matches)

    def matches(self, password: bytes) -> bool:
        """Whether it is the one."""
        self.looks.append(password)
        self.opened.wait(10)
        if self.fault is not None:
            raise self.fault
        return password.startswith(b"right")

    async def wait_looks(self, count: int) -> None:
        """Wait until it was looked at so often."""
        while len(self.looks) < count:
            await trio.sleep(0.001)


def login(user: str = "alice", password: str = "right", client: str = "", request: bytes = GET) -> bytes:
    """A request with credentials, of a client that a proxy next to us tells of."""
    fields = b"Authorization: Basic %b\r\n" % b64encode(f"{user}:{password}".encode())
    if client:
        fields += b"X-Forwarded-For: %b\r\n" % client.encode()
    return request.replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n")


@asynccontextmanager
async def open_door(users: Mapping[str, PasswordHash], **settings: Any) -> AsyncIterator[Stage]:
    """A stage whose route asks for one of these users."""
    async with open_stage(trusted_proxies=["127.0.0.1"], **settings) as stage:
        stage.plane.set_routes([ROUTE], Contents(users={FILE: users}))
        yield stage


async def status(line: Line, request: bytes) -> int:
    """Of the answer to a request that no backend sees."""
    await line.send(request)
    return await answered(line)


async def answered(line: Line) -> int:
    """The status of the next answer."""
    return int((await line.read_response())[0].split(b" ")[1])


async def served(stage: Stage, line: Line, request: bytes) -> bytes:
    """Have a request answered by the backend; gives what that was sent."""
    await line.send(request)
    return await serve(stage, line)


async def serve(stage: Stage, line: Line) -> bytes:
    """Have the backend answer what it is asked next."""
    backend = await stage.backend.accept()
    head = await backend.read_head()
    await backend.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    backend.close()
    assert await answered(line) == 200
    return head


async def test_who_has_no_credentials_is_asked_for_them():
    """With a realm and the encoding (RFC 7617 2), and the connection goes on."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        await client.send(GET)
        head, body = await client.read_response()
        assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert FIRST in head
        assert body == b"401 Unauthorized\n"
        assert await status(client, GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer x\r\n\r\n")) == 401
        assert await status(client, login().replace(b"\r\n\r\n", b"\r\nAuthorization: Basic eDp5\r\n\r\n")) == 401
        assert vault.looks == []
        (record, *_) = await stage.wait_records(3)
        assert (record["side"], record["error"]) == ("downstream", "no credentials")


async def test_who_has_the_right_ones_is_served():
    """The backend is told the credentials; they are verified once."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        for _ in range(3):
            head = await served(stage, client, login())
            assert b"\r\nAuthorization: Basic %b\r\n" % b64encode(b"alice:right") in head
        await served(stage, await stage.connect(), login(client="192.0.2.1"))
        assert vault.looks == [b"right"]


async def test_a_real_hash_is_verified():
    """In a thread, off the loop."""
    hashed = parse_hash("$2y$04$JKX1.yRjdT8Q5zSUA0V4Me2qVrCl92qAgRFF/TDkF/pKgR9K4kJf6")
    async with open_door({"alice": hashed}) as stage:
        client = await stage.connect()
        assert await status(client, login(password="no")) == 401
        await stage.let_pass(1)
        await served(stage, client, login(password="pässword"))


async def test_a_user_who_does_not_exist_costs_as_much_as_one_who_does():
    """And is refused with the password of another, too."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        assert await status(client, login("bob")) == 401
        await stage.let_pass(1)
        assert await status(client, login("alice", "wrong")) == 401
        assert vault.looks == [b"right", b"wrong"]


async def test_requests_with_the_same_credentials_wait_together():
    """A page with twenty pictures costs one verification."""
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}, http2=True) as stage:
        client = await connect_http2(stage)
        fields = [*GET_FIELDS, (b"authorization", b"Basic " + b64encode(b"alice:right"))]
        for stream in range(1, 41, 2):
            await client.request(stream, fields)
        await vault.wait_looks(1)
        await stage.settle()
        assert stage.in_flight == 0
        vault.opened.set()
        await stage.wait_in_flight(20)
        assert vault.looks == [b"right"]


async def test_a_body_waits_for_its_password():
    """It goes to the backend whole, and that of who is refused to nobody."""
    post = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n"
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        await client.send(login(request=post) + b"he")
        await vault.wait_looks(1)
        await client.send(b"llo")
        await stage.settle()
        vault.opened.set()
        backend = await stage.backend.accept()
        await backend.read_head()
        assert await backend.read_exactly(5) == b"hello"
        await backend.send(OK)
        assert await answered(client) == 200
        assert await status(await stage.connect(), login("bob", request=post) + b"hello") == 401


async def test_a_client_that_leaves_meanwhile_is_forgotten():
    """It was never in flight, and others have their turn."""
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}) as stage:
        first, second = await stage.connect(), await stage.connect()
        await first.send(login(password="right 1"))
        await vault.wait_looks(1)
        await second.send(login(password="right 2"))
        await stage.settle()
        first.close()
        second.close()
        assert [record["status"] for record in await stage.wait_records(2)] == [499, 499]
        vault.opened.set()
        await served(stage, await stage.connect(), login())
        # The second had left before its turn.
        assert vault.looks == [b"right 1", b"right"]
        assert stage.in_flight == 0


async def test_who_guesses_is_stopped():
    """After some failures of one address there is no look at what it says; others are looked at."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        await served(stage, client, login(client="192.0.2.1", password="right 1"))
        for number in range(FAILURES_AT_ONCE):
            assert await status(client, login(password=f"wrong {number}", client="192.0.2.1")) == 401
            await stage.let_pass(0.1)
        await client.send(login(client="192.0.2.1"))
        head, _ = await client.read_response()
        assert head.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: 8\r\n" in head
        assert len(vault.looks) == FAILURES_AT_ONCE + 1
        # Who has logged in already is not locked out, nor is who comes from elsewhere.
        await served(stage, client, login(client="192.0.2.1", password="right 1"))
        await served(stage, client, login(client="192.0.2.2"))
        await stage.let_pass(10)
        await served(stage, client, login(client="192.0.2.1", password="right 2"))


async def test_right_passwords_are_no_failures():
    """However many come at once from one address."""
    vault = Vault()
    async with open_door({f"user{number}": vault.hashed for number in range(30)}) as stage:
        client = await stage.connect()
        for number in range(30):
            await served(stage, client, login(f"user{number}"))


async def test_the_verifier_rests_after_a_failure():
    """Guesses have a share of a processor, not all of it."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client, other = await stage.connect(), await stage.connect()
        assert await status(client, login(password="wrong")) == 401
        await other.send(login())
        await stage.settle()
        assert vault.looks == [b"wrong"]
        await stage.let_pass(1)
        await serve(stage, other)


async def test_who_has_failed_least_is_first():
    """A crowd that guesses keeps nobody waiting who comes to log in, and is turned away for others."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        vault.opened.clear()
        crowd = [await stage.connect() for _ in range(MOST_WAITING + 1)]
        for number, line in enumerate(crowd):
            await line.send(login(password=f"wrong {number}", client=f"192.0.2.{number // 5}"))
            await stage.settle()
        await vault.wait_looks(1)
        newcomer = await stage.connect()
        await newcomer.send(login(client="198.51.100.1"))
        # Of those who have tried five times, the first.
        head, _ = await crowd[4].read_response()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 10\r\n" in head
        vault.opened.set()
        assert await answered(crowd[0]) == 401
        await stage.let_pass(1)
        await serve(stage, newcomer)
        assert vault.looks[:2] == [b"wrong 0", b"right"]


async def test_being_turned_away_is_no_free_guess():
    """Whoever tries again and again is behind everybody else, and then not looked at."""
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}) as stage:
        lines = [await stage.connect() for _ in range(FAILURES_AT_ONCE + 1)]
        for number, line in enumerate(lines):
            await line.send(login(password=f"wrong {number}"))
            await stage.settle()
        assert await answered(lines[-1]) == 429
        for line in lines:
            line.close()
        await stage.wait_records(len(lines))
        vault.opened.set()
        await stage.let_pass(1)
        # Those who left were not verified, and count all the same.
        assert await status(await stage.connect(), login()) == 429


async def test_nobody_waits_for_ever():
    """503 after a while."""
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}) as stage:
        first, second = await stage.connect(), await stage.connect()
        await first.send(login(password="right 1"))
        await vault.wait_looks(1)
        await second.send(login(password="right 2"))
        await stage.let_pass(LONGEST_WAIT + 1)
        vault.opened.set()
        await serve(stage, first)
        assert await answered(second) == 503


async def test_how_many_wait_for_one_password_is_bounded():
    """The rest is turned away."""
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}, http2=True) as stage:
        fields = [*GET_FIELDS, (b"authorization", b"Basic " + b64encode(b"alice:right"))]
        clients = [await connect_http2(stage) for _ in range(MOST_JOINED // 64 + 1)]
        for client in clients:
            for stream in range(1, 129, 2):
                await client.request(stream, fields)
            await stage.settle()
        records = await stage.wait_records(64)
        assert {record["status"] for record in records} == {503}
        assert len(records) == 64
        vault.opened.set()
        await stage.wait_in_flight(MOST_JOINED)


async def test_what_was_right_is_known_for_a_while():
    """Until then, or until the file is read again."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        await served(stage, client, login())
        await stage.let_pass(KNOWN_SECONDS - 1)
        await served(stage, await stage.connect(), login())
        assert len(vault.looks) == 1
        await stage.let_pass(2)
        client = await stage.connect()
        await served(stage, client, login())
        assert len(vault.looks) == 2
        stage.plane.set_routes([ROUTE], Contents(users={FILE: {"bob": vault.hashed}}))
        assert await status(client, login()) == 401


async def test_a_reload_logs_nobody_out_whose_line_stays():
    """Somebody who was given another password, or was removed, has to log in again."""
    vault, other = Vault(), Vault()
    other.hashed = PasswordHash("another hash", other.matches)
    async with open_door({"alice": vault.hashed, "bob": vault.hashed}) as stage:
        client = await stage.connect()
        await served(stage, client, login())
        same = PasswordHash(vault.hashed.text, vault.matches)
        stage.plane.set_routes([ROUTE], Contents(users={FILE: {"alice": same}}))
        await served(stage, client, login())
        assert (len(vault.looks), len(other.looks)) == (1, 0)
        stage.plane.set_routes([ROUTE], Contents(users={FILE: {"alice": other.hashed}}))
        await served(stage, client, login())
        assert (len(vault.looks), len(other.looks)) == (1, 1)
        stage.plane.set_routes([ROUTE], Contents(users={FILE: {"bob": other.hashed}}))
        assert await status(client, login()) == 401


def test_how_much_is_known_is_bounded():
    """The oldest is forgotten."""
    known, vault = KnownCredentials(), Vault()
    users = {"alice": vault.hashed}
    for number in range(2 * MOST_KNOWN):
        known.add(b"%d" % number, "alice", vault.hashed, 0.0)
    assert len(known) == MOST_KNOWN
    assert not known.hold(b"%d" % (MOST_KNOWN - 1), users, 0.0)
    assert known.hold(b"%d" % MOST_KNOWN, users, 0.0)
    assert not known.hold(b"%d" % MOST_KNOWN, users, KNOWN_SECONDS)


async def test_a_defect_in_a_hash_is_of_one_request():
    """500, and the next one has its turn; so it is when the system refuses."""
    vault = Vault()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        for fault in (ValueError("a defect"), OSError("no memory")):
            vault.fault = fault
            assert await status(client, login()) == 500
        assert len(stage.log.defects) == 2
        vault.fault = None
        await served(stage, client, login())


async def test_an_upgrade_waits_too():
    """It becomes a tunnel when its password is right."""
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    async with open_door({"alice": Vault().hashed}) as stage:
        assert await status(await stage.connect(), handshake) == 401
        client = await stage.connect()
        await client.send(login(request=handshake))
        line = await stage.backend.accept()
        await line.read_head()
        await line.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
        assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
        assert await client.read_exactly(2) == b"hi"
        assert stage.in_flight == 1


async def test_a_stop_does_not_wait_for_passwords():
    """Whoever waits then is let go with the connection."""
    vault = Vault()
    vault.opened.clear()
    async with open_door({"alice": vault.hashed}) as stage:
        client = await stage.connect()
        await client.send(login())
        await vault.wait_looks(1)
        with trio.fail_after(5):
            await stage.plane.drain_downstream(timeout=0.05)
    vault.opened.set()


async def test_files_have_realms_of_their_own():
    """So that a browser does not offer what it knows of one to the other."""
    vault = Vault()
    other = RouteTable(pool="web", path="/b", basic_auth="/etc/others")
    async with open_stage() as stage:
        users = {FILE: {"alice": vault.hashed}, "/etc/others": {"alice": vault.hashed}}
        stage.plane.set_routes([ROUTE, other], Contents(users=users))
        client = await stage.connect()
        await client.send(GET)
        assert FIRST in (await client.read_response())[0]
        await client.send(GET.replace(b"/ ", b"/b "))
        assert FIRST.replace(b'ed"', b'ed 2"') in (await client.read_response())[0]
