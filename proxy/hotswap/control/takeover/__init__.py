"""Takeover: everything is handed to another process of the proxy, on the old side and on the new one."""
