"""Test backends: one that misbehaves in a chosen way, and a plain one."""
