"""The releases that backends of a pool can be started from, each pinned under the generation that brought it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotswap.control.pools.release import Release
    from hotswap.control.pools.rollout_at_hand import RolloutAtHand
    from hotswap.control.pools.slot import Slot


class PinnedReleases:
    """The part of a supervised pool that remembers what its backends were started from."""

    generation: int
    slots: dict[int, Slot]
    run: RolloutAtHand | None
    _newest: int
    _releases: dict[int, Release]

    def restore(self, *, generation: int, newest: int, releases: Mapping[int, Release], slots: Iterable[Slot]) -> None:
        """Go on where the proxy process before this one stood; before `serve`."""
        self.generation, self._newest = generation, newest
        self._releases = dict(releases)
        self.slots = {slot.number: slot for slot in slots}

    @property
    def newest(self) -> int:
        """The highest generation that was given to a rollout."""
        return self._newest

    @property
    def releases(self) -> Mapping[int, Release]:
        """The releases that something can be started from, by generation."""
        return dict(self._releases)

    def next_generation(self, release: Release) -> int:
        """Give the number for a rollout of this release, and keep the release for it."""
        self._newest += 1
        self._releases[self._newest] = release
        return self._newest

    def release_of(self, generation: int) -> Release:
        """Give the release that a generation was started from."""
        return self._releases[generation]

    def forget_releases(self) -> None:
        """Forget the releases that nothing can be started from any more."""
        needed = {slot.generation for slot in self.slots.values()} | {self.generation}
        if self.run is None:
            self._releases = {number: release for number, release in self._releases.items() if number in needed}
