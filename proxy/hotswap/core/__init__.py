"""The floor of pure decisions: values, tables and functions without I/O, clock or logging."""
