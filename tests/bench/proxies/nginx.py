"""nginx as a peer: one worker, streaming bodies both ways."""

from __future__ import annotations

import os

from tests.bench.proxies.setup import ADDRESS, CONNECTION_LIMIT, STREAM_PREFIX, Setup
from tests.bench.running import Command
from tests.bench.tools import Tool, find_tool


def configure_nginx(setup: Setup) -> Command:
    """Write the configuration and return how to start it.

    Raises:
        ToolMissing: nginx is not installed.
    """
    user = "user root;" if os.geteuid() == 0 else ""
    directory = setup.directory
    configuration = f"""
daemon off; {user}
worker_processes 1;
worker_rlimit_nofile {2 * CONNECTION_LIMIT if os.geteuid() == 0 else CONNECTION_LIMIT};
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections {CONNECTION_LIMIT + 2048}; }}
http {{
    access_log {setup.access_log};
    keepalive_requests 1000000;
    keepalive_timeout 75s;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_max_temp_file_size 0;
    # With its own 8 buffers of 4 KiB a long download takes it three times the processor time.
    proxy_buffers 8 256k;
    proxy_busy_buffers_size 512k;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    map $http_upgrade $connection_field {{ default upgrade; "" ""; }}
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header Connection $connection_field;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    upstream origin {{ server unix:{setup.origin}; keepalive 1024; keepalive_requests 1000000; }}
    upstream stream {{ server unix:{setup.stream}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen {ADDRESS}:{setup.plain_port} backlog=4096;
        listen {ADDRESS}:{setup.tls_port} ssl http2 backlog=4096;
        ssl_certificate {setup.certificate};
        ssl_certificate_key {setup.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ proxy_pass http://origin; }}
        location /static/ {{ alias {setup.write_static()}/; sendfile on; tcp_nopush on; }}
        location {STREAM_PREFIX} {{ proxy_pass http://stream; }}
    }}
}}
"""
    binary = str(find_tool(Tool.NGINX))
    return Command(argv=(binary, "-p", str(directory), "-c", setup.write("nginx.conf", configuration), "-e", "stderr"))
