"""A rollout from its trigger to its report."""
