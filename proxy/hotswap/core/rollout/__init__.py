"""A rollout: its table of steps, its commands and events, its refusals and its report."""
