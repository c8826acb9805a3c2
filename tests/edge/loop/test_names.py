"""Host names: who takes what is known never waits, and what is known is looked up anew in time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from hotswap.core.errors import AddressUnknown, ConnectFailed
from hotswap.edge.loop.endpoint import Endpoint
from hotswap.edge.loop.names import LOOKUP_TIMEOUT, PAUSE, REFRESH, Name, Names, look_up

FOUR = Endpoint(socket.AF_INET, ("192.0.2.4", 80))
SIX = Endpoint(socket.AF_INET6, ("2001:db8::6", 80, 0, 0))


class Resolver:
    """Answers with what it is told, after so many seconds."""

    def __init__(self) -> None:
        self.answer: tuple[Endpoint, ...] | OSError = (SIX, FOUR)
        self.takes = 0.0
        self.asked = 0

    async def ask(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """One lookup."""
        self.asked += 1
        await trio.sleep(self.takes)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@asynccontextmanager
async def open_name(resolver: Resolver) -> AsyncIterator[Name]:
    """A name that is looked up."""
    names = Names(trio.current_time, resolver.ask)
    async with trio.open_nursery() as nursery:
        await nursery.start(names.serve)
        yield names.name("backend.test", 80)
        nursery.cancel_scope.cancel()


async def known(name: Name) -> tuple[Endpoint, ...]:
    """What is known when all that was begun has ended."""
    await trio.testing.wait_all_tasks_blocked()
    return name.endpoints


async def test_nobody_waits_for_a_name_that_is_looked_up(autojump_clock):
    """It is said to be unknown at once, and known from the answer on; both families."""
    resolver = Resolver()
    resolver.takes = 3.0
    async with open_name(resolver) as name:
        with pytest.raises(AddressUnknown):
            name.take()
        before = trio.current_time()
        assert await name.wait() == (SIX, FOUR)
        assert trio.current_time() - before == 3.0
        assert name.take() == (SIX, FOUR)
        assert resolver.asked == 1


async def test_a_name_is_looked_up_every_minute_and_used_meanwhile(autojump_clock):
    """A resolver that hangs delays nobody."""
    resolver = Resolver()
    async with open_name(resolver) as name:
        await name.wait()
        resolver.answer, resolver.takes = (FOUR,), 20.0
        await trio.sleep(REFRESH - 1)
        assert name.take() == (SIX, FOUR)
        assert resolver.asked == 1
        await trio.sleep(1)
        for _ in range(20):
            assert name.take() == (SIX, FOUR)
            await trio.sleep(1)
        await known(name)
        assert name.take() == (FOUR,)
        assert resolver.asked == 2


async def test_a_failed_lookup_is_a_failed_connect_and_soon_repeated(autojump_clock):
    """It says why."""
    resolver = Resolver()
    resolver.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    async with open_name(resolver) as name:
        with pytest.raises(ConnectFailed, match=r"backend.test: Name or service not known"):
            await name.wait()
        with pytest.raises(ConnectFailed):
            name.take()
        assert resolver.asked == 1
        resolver.answer = (FOUR,)
        await trio.sleep(PAUSE)
        with pytest.raises(ConnectFailed):
            name.take()
        assert await known(name) == (FOUR,)


async def test_what_was_found_stays_good_when_the_resolver_fails(autojump_clock):
    """A resolver fails more often than an address moves."""
    resolver = Resolver()
    async with open_name(resolver) as name:
        await name.wait()
        resolver.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        await trio.sleep(REFRESH)
        name.take()
        assert await known(name) == (SIX, FOUR)
        assert name.take() == (SIX, FOUR)


async def test_a_name_without_an_answer_has_a_deadline_and_its_late_answer_is_taken(autojump_clock):
    """Only one lookup is under way for it."""
    resolver = Resolver()
    resolver.takes = LOOKUP_TIMEOUT * 3
    async with open_name(resolver) as name:
        with pytest.raises(AddressUnknown):
            name.take()
        await trio.sleep(LOOKUP_TIMEOUT)
        with pytest.raises(ConnectFailed, match="did not answer in 5 s"):
            name.take()
        await trio.sleep(LOOKUP_TIMEOUT * 2)
        assert await known(name) == (SIX, FOUR)
        assert resolver.asked == 1


async def test_what_cannot_be_connected_to_is_looked_up_again(autojump_clock):
    """After a moment, so that a backend that is down is no flood of lookups."""
    resolver = Resolver()
    async with open_name(resolver) as name:
        await name.wait()
        resolver.answer = (FOUR,)
        name.doubt()
        name.take()
        await known(name)
        assert resolver.asked == 1
        await trio.sleep(PAUSE)
        name.take()
        assert await known(name) == (FOUR,)


async def test_the_address_that_works_comes_first_also_after_the_next_lookup(autojump_clock):
    """Unless it is gone."""
    resolver = Resolver()
    async with open_name(resolver) as name:
        await name.wait()
        name.prefer(FOUR)
        assert name.take() == (FOUR, SIX)
        await trio.sleep(REFRESH)
        name.take()
        assert await known(name) == (FOUR, SIX)
        resolver.answer = (SIX,)
        await trio.sleep(REFRESH)
        name.take()
        assert await known(name) == (SIX,)
        name.prefer(FOUR)
        assert name.take() == (SIX,)


async def test_a_lookup_that_is_cancelled_leaves_nobody_waiting(autojump_clock):
    """Who waits for it is told, and later it may be asked for again."""
    resolver = Resolver()
    resolver.takes = 3.0
    names = Names(trio.current_time, resolver.ask)
    name = names.name("backend.test", 80)
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            await nursery.start(names.serve)
            with pytest.raises(AddressUnknown):
                name.take()
            await trio.sleep_forever()
    assert "broken off" in name.error


async def test_the_systems_resolver_is_asked_in_a_thread():
    """`localhost` is known everywhere."""
    found = await look_up("localhost", 80)
    assert found
    assert {endpoint.address[0] for endpoint in found} <= {"127.0.0.1", "::1"}
    assert {endpoint.address[1] for endpoint in found} == {80}
