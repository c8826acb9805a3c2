"""Backends that misbehave, and a plain one beside them, for tests of what the proxy makes of it."""
