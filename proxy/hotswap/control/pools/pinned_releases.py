"""The releases that backends of a pool can be started from, each pinned under the generation that brought it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from hotswap.control.pools.release import Release


class PinnedReleases(Mapping[int, Release]):
    """The releases of one pool, by generation.

    Attributes:
        generation: the one in force, which is that of the last rollout that was done; 1 after boot.
        newest: the highest that was given to a rollout.
    """

    def __init__(self, release: Release) -> None:
        """Begin with the release of the boot, in force as generation 1."""
        self.generation = 1
        self.newest = 1
        self._releases = {1: release}

    def __getitem__(self, generation: int) -> Release:
        return self._releases[generation]

    def __iter__(self) -> Iterator[int]:
        return iter(self._releases)

    def __len__(self) -> int:
        return len(self._releases)

    @property
    def current(self) -> Release:
        """The release in force."""
        return self._releases[self.generation]

    def restore(self, *, generation: int, newest: int, releases: Mapping[int, Release]) -> None:
        """Go on where the proxy process before this one stood."""
        self.generation, self.newest = generation, newest
        self._releases = dict(releases)

    def add(self, release: Release) -> int:
        """Keep a release for a rollout, and give the generation it is pinned under."""
        self.newest += 1
        self._releases[self.newest] = release
        return self.newest

    def amend(self, before: Release, after: Release) -> None:
        """Know more of a release than when it was pinned."""
        self._releases = {number: after if one is before else one for number, one in self._releases.items()}

    def forget(self, *, but: Collection[int]) -> None:
        """Forget the releases that nothing can be started from any more: all but these and the one in force."""
        needed = {self.generation, *but}
        self._releases = {number: release for number, release in self._releases.items() if number in needed}
