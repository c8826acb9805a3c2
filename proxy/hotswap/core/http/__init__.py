"""HTTP without sockets: messages, what is forwarded, where to, and what happens after a failure."""
