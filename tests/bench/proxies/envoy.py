"""Envoy as a peer: one worker thread."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.proxies.setup import ADDRESS, STREAM_PREFIX, Setup
from tests.bench.running import Command
from tests.bench.tools import Tool, find_tool

_TYPES = "type.googleapis.com/envoy.extensions"
_FILTERS = "filters.network.http_connection_manager.v3.HttpConnectionManager"


def configure_envoy(setup: Setup) -> Command:
    """Write the configuration and return how to start it.

    Raises:
        ToolMissing: Envoy is not installed.
    """
    configuration = {
        "static_resources": {
            "listeners": [_listener(setup, tls=False), _listener(setup, tls=True)],
            "clusters": [_cluster("origin", setup.origin), _cluster("stream", setup.stream)],
        }
    }
    path = setup.write("envoy.json", json.dumps(configuration, indent=1))
    binary = str(find_tool(Tool.ENVOY))
    return Command(
        argv=(
            binary,
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            "200",
            "--log-level",
            "error",
            "-c",
            path,
        ),
    )


def _listener(setup: Setup, *, tls: bool) -> dict[str, object]:
    name = "tls" if tls else "plain"
    chain: dict[str, object] = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": _connection_manager(setup, name, tls=tls),
            }
        ]
    }
    if tls:
        certificate = {
            "certificate_chain": {"filename": str(setup.certificate)},
            "private_key": {"filename": str(setup.key)},
        }
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [certificate], "alpn_protocols": ["h2", "http/1.1"]},
            },
        }
    port = setup.tls_port if tls else setup.plain_port
    return {
        "name": name,
        "address": {"socket_address": {"address": ADDRESS, "port_value": port}},
        "filter_chains": [chain],
    }


def _connection_manager(setup: Setup, name: str, *, tls: bool) -> dict[str, object]:
    routes = [
        {"match": {"prefix": prefix}, "route": {"cluster": cluster, "timeout": "0s"}}
        for prefix, cluster in ((STREAM_PREFIX, "stream"), ("/", "origin"))
    ]
    access_log = {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_TYPES}.access_loggers.file.v3.FileAccessLog",
            "path": str(setup.access_log),
        },
    }
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
    }
    return {
        "@type": f"{_TYPES}.{_FILTERS}",
        "stat_prefix": name,
        "codec_type": "AUTO" if tls else "HTTP1",
        # This is what makes it add X-Forwarded-For.
        "use_remote_address": True,
        "access_log": [access_log],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }


def _cluster(name: str, path: Path) -> dict[str, object]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    limits = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
