"""Rules of a route, as steps that a request takes before anything answers it."""
