"""A gRPC service to stand behind the proxy: `python -m tests.support.grpc_backend unix:PATH GENERATION`.

Messages are plain bytes, so nothing has to be generated. Every answer says in its trailers which generation gave it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from concurrent import futures

import grpc

HEALTHY = b"\x08\x01"
"""A HealthCheckResponse that says SERVING."""


def main(address: str, generation: str) -> None:
    """Serve until SIGTERM."""

    def sign(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("generation", generation),))

    def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
        sign(context)
        return request

    def count(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        sign(context)
        for number in range(int(request)):
            yield b"%d" % number

    def total(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        sign(context)
        return b"%d" % sum(map(len, requests))

    def talk(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        sign(context)
        yield from requests

    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return b""

    server = grpc.server(futures.ThreadPoolExecutor(16))
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    }
    health = {"Check": grpc.unary_unary_rpc_method_handler(lambda _request, _context: HEALTHY)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("test.Service", handlers),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
        )
    )
    server.add_insecure_port(address)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(grace=5))
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
