"""The configuration of this machine: which file, what it names, and reads with a deadline."""
