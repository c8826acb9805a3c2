"""Nearest words: what a misspelt word was meant to be, and nothing where no word is near."""

from __future__ import annotations

from collections.abc import Iterable

from hotswap.core.errors import written

MOST = 3
"""So many words are offered at most."""


def nearest(word: str, words: Iterable[str]) -> list[str]:
    """Give the words that differ from a word in few letters, the fewest first; none where that is far-fetched.

    One letter in four may be wrong, missing, too many, or change places with its neighbour, and one in any word; case
    does not count, and neither does what joins two words.
    """
    meant = _folded(word)
    found: list[tuple[int, str]] = []
    for other in words:
        allowed = max(1, min(len(meant), len(other)) // 4)
        if abs(len(meant) - len(other)) <= allowed:
            distance = _distance(meant, _folded(other))
            if distance <= allowed and distance < len(other):
                found.append((distance, other))
    return [other for _, other in sorted(found, key=lambda one: one[0])[:MOST]]


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Give `; did you mean "…"?` when words are near, else nothing."""
    near = nearest(word, words)
    return f"; did you mean {' or '.join(map(written, near))}?" if near else ""


def _folded(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")


def _distance(one: str, other: str) -> int:
    """Count the edits from one word to the other; two neighbours that change places are one edit."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        above = row
        row = [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]
