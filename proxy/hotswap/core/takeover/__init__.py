"""A takeover as tables and ledgers: what each side does next, which backends change hands, which versions agree."""
