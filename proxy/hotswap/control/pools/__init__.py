"""Pools and their backends: filled, watched, taken out of rotation, ended."""
