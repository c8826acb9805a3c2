"""gRPC through the proxy, with grpcio on both ends: every kind of call, also while backends are replaced."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import trio

from tests.support.hotswap import SOURCES, Hotswap, run_hotswap
from tests.support.pools import table

CALL_SECONDS = 10.0


def grpc_configuration(directory: Path, strategy: str = "drain-first") -> str:
    """A plain listener that speaks HTTP/2, and two gRPC servers behind it."""
    command = [sys.executable, "-m", "tests.support.grpc_backend", "unix:{socket}", "{generation}"]
    pool = {
        "server": "command",
        "command": command,
        "listen": "unix",
        "protocol": "h2c",
        "directory": directory,
        "size": 2,
        "rollout": {"strategy": strategy},
        "environment": {"PYTHONPATH": SOURCES},
        "health": {"interval": "200ms", "path": "/grpc.health.v1.Health/Check"},
    }
    routes = '[[routes]]\npath = "/"\npool = "web"\n'
    return table("listeners.public", {"bind": ["127.0.0.1:0"], "http2": True}) + routes + table("pools.web", pool)


async def open_channel(hotswap: Hotswap) -> grpc.Channel:
    """A client's channel to the proxy."""
    status = await hotswap.status()
    return grpc.insecure_channel(status["listeners"]["public"]["bind"][0])


@dataclass(slots=True)
class Calls:
    """What calls of one kind came to."""

    done: int = 0
    failures: list[str] = field(default_factory=list)
    generations: set[str] = field(default_factory=set)


def trailer(call: grpc.Call) -> str:
    """The generation that answered."""
    return str(dict(call.trailing_metadata())["generation"])


def call_echo(channel: grpc.Channel) -> str:
    """One message each way."""
    answer, call = channel.unary_unary("/test.Service/Echo").with_call(b"hello", timeout=CALL_SECONDS)
    assert answer == b"hello"
    return trailer(call)


def call_count(channel: grpc.Channel) -> str:
    """One message there, many back."""
    call = channel.unary_stream("/test.Service/Count")(b"100", timeout=CALL_SECONDS)
    assert list(call) == [b"%d" % number for number in range(100)]
    return trailer(call)


def call_total(channel: grpc.Channel) -> str:
    """Many there, more than any window, and one back."""
    messages = iter([bytes(50_000)] * 20)
    answer, call = channel.stream_unary("/test.Service/Total").with_call(messages, timeout=CALL_SECONDS)
    assert answer == b"1000000"
    return trailer(call)


def call_talk(channel: grpc.Channel) -> str:
    """Messages both ways in turn, for a while, on a stream that stays open."""
    said: list[bytes] = []

    def speak() -> Iterator[bytes]:
        for number in range(10):
            time.sleep(0.02)
            said.append(b"%d" % number)
            yield said[-1]

    call = channel.stream_stream("/test.Service/Talk")(speak(), timeout=CALL_SECONDS)
    assert list(call) == said
    return trailer(call)


KINDS: dict[str, Callable[[grpc.Channel], str]] = {
    "echo": call_echo,
    "count": call_count,
    "total": call_total,
    "talk": call_talk,
}


@pytest.mark.fail_after(60)
@pytest.mark.parametrize("strategy", ["drain-first", "surge"])
async def test_rollouts_cost_no_call_anything(tmp_path: Path, strategy: str):
    """Unary and streaming calls go on while every backend is replaced twice: none fails, each generation answers."""
    counts = {kind: Calls() for kind in KINDS}
    stop = threading.Event()

    def keep_calling(channel: grpc.Channel, kind: str) -> None:
        count = counts[kind]
        while not stop.is_set():
            try:
                count.generations.add(KINDS[kind](channel))
                count.done += 1
            except (grpc.RpcError, AssertionError, KeyError) as error:
                count.failures.append(repr(error))

    async with run_hotswap(grpc_configuration(tmp_path, strategy), tmp_path) as hotswap:
        channel = await open_channel(hotswap)
        try:
            async with trio.open_nursery() as nursery:
                for kind in KINDS:
                    nursery.start_soon(trio.to_thread.run_sync, keep_calling, channel, kind)
                try:
                    for generation in ("1", "2", "3"):
                        if generation != "1":
                            rollout = await hotswap.rollout()
                            assert rollout["outcome"] == "done", rollout
                            assert [slot["exchanges"]["cut"] for slot in rollout["slots"]] == [0, 0], rollout
                        while not all(generation in count.generations for count in counts.values()):
                            assert not any(count.failures for count in counts.values()), counts
                            await trio.sleep(0.02)
                finally:
                    stop.set()
        finally:
            channel.close()
        assert {kind: count.failures for kind, count in counts.items()} == {kind: [] for kind in KINDS}


@pytest.mark.fail_after(60)
async def test_a_refusal_and_a_cancelled_call_are_what_they_are(tmp_path: Path):
    """An answer of trailers only keeps its code and text; a call given up ends at the backend, and others go on."""
    async with run_hotswap(grpc_configuration(tmp_path), tmp_path) as hotswap:
        channel = await open_channel(hotswap)

        def call() -> None:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/test.Service/Refuse")(b"", timeout=CALL_SECONDS)
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
            endless = channel.unary_stream("/test.Service/Count")(b"100000000", timeout=CALL_SECONDS)
            assert next(endless) == b"0"
            endless.cancel()
            assert call_echo(channel) == "1"

        try:
            await trio.to_thread.run_sync(call)
        finally:
            channel.close()

        async def idle() -> bool:
            return all(backend["in_flight"] == 0 for backend in await hotswap.backends())

        await hotswap.wait_until(idle)
