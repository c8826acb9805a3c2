"""The admin API: how operators, scripts and the dashboard page see the proxy and give it orders.

One task of the process, `serve_admin`, run beside everything else. It owns its listening sockets and nothing
of the proxy: every order is one of the verbs, every answer a view of its state. So it may fail, and is
restarted, without anybody else noticing.

`sockets` opens where it listens, `connection` is one HTTP/1.1 connection, `guard` decides who may speak, `calls` is the
table of what can be asked, `acts` does it, `problems` are the refusals, `streaming` the events, and `serving` puts them
together.
"""
