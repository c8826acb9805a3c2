"""Looks a path up beneath several roots, the first that has it; in the loop out of memory, in a job from the disk."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hotswap.core.files.media_type import is_compressible
from hotswap.core.files.siblings import SUFFIXES, choose_sibling, is_current
from hotswap.edge.files.open_file import OpenFile
from hotswap.edge.files.root import Root
from hotswap.edge.files.stored_file import StoredFile, read_small

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX: Final = b"index.html"
"""The file that is answered for a directory."""

_ABSENT: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.ENXIO))
"""Errors that say that there is no such file: a link, a socket and a path too long are none."""


@dataclass(slots=True, kw_only=True)
class PathPlace:
    """What a path leads to, as it was found at a moment.

    Attributes:
        root: where it is; None if it is nowhere.
        path: of the file, an index perhaps.
        directory: it is a directory with an index, asked for without the slash at its end.
        refused: the operating system does not let this process read it.
        identity: of the file.
        sizes: of its compressed siblings, by coding.
        stored: what is known of the file (by the empty coding) and of those siblings that were asked for.
        checked: when, in seconds of the data plane's clock.
        epoch: which roots there were.
    """

    root: Root | None = None
    path: bytes = b""
    directory: bool = False
    refused: bool = False
    identity: tuple[int, ...] = ()
    sizes: Mapping[bytes, int] = field(default_factory=dict)
    stored: dict[bytes, StoredFile] = field(default_factory=dict)
    checked: float = 0.0
    epoch: int = 0

    def coding_for(self, accept_encoding: bytes) -> bytes:
        """The coding of the sibling that a client is given; empty for the file itself."""
        return choose_sibling(accept_encoding, self.sizes) if self.sizes else b""

    @property
    def kept_bytes(self) -> int:
        """Bytes of contents, and about as many as the rest takes."""
        return 1024 + sum(len(stored.body or b"") for stored in self.stored.values())


def open_roots(paths: Sequence[str], known: Sequence[Root], *, cached: bool) -> tuple[Root, ...]:
    """Open the directories that there are; those that are known and still the same stay.

    Raises:
        BlockingIOError: `cached`, and it cannot be told out of memory alone.
    """
    before = {root.path: root for root in known}
    roots = []
    for path in paths:
        try:
            root = Root.at(path, cached=cached)
        except BlockingIOError:
            raise
        except OSError:
            continue
        old = before.get(path)
        roots.append(old if old is not None and old.identity == root.identity else root)
    return tuple(roots)


def look_up(
    roots: Sequence[Root],
    path: bytes,
    accept_encoding: bytes,
    before: PathPlace | None,
    *,
    cached: bool,
    siblings: bool,
    hashed: bool,
) -> tuple[PathPlace, OpenFile | None]:
    """Find a file, and what of it a client is given.

    Args:
        roots: asked in this order.
        path: relative, as `file_path` gives it.
        accept_encoding: what the client takes.
        before: what was known; contents that have not changed are not read again.
        cached: never wait for a disk.
        siblings: look for compressed siblings.
        hashed: the path has a hash of the content.

    Returns:
        The place, and the file to be sent if its content is not kept.

    Raises:
        BlockingIOError: `cached`, and it cannot be told out of memory alone.
        OSError: the disk or the file system failed.
    """
    place, file = _find(roots, path, cached=cached)
    if file is None or place.root is None:
        return place, None
    if siblings and is_compressible(place.path):
        place.sizes = _sizes_of_siblings(place.root, place.path, file, cached=cached)
    if before is not None and before.identity == place.identity and before.sizes.keys() == place.sizes.keys():
        place.stored = dict(before.stored)
    coding = place.coding_for(accept_encoding)
    if coding:
        try:
            sibling = place.root.open(place.path + SUFFIXES[coding], cached=cached)
        except BlockingIOError:
            raise
        except OSError:  # it was there a moment ago
            place.sizes = {name: size for name, size in place.sizes.items() if name != coding}
            coding = b""
        else:
            file.close()
            file = sibling
    known = place.stored.get(coding)
    if known is None or known.identity != file.identity:
        place.stored[coding] = known = StoredFile(
            file,
            place.path + SUFFIXES.get(coding, b""),
            read_small(file, cached=cached),
            name=place.path,
            hashed=hashed,
            coding=coding,
            vary=bool(place.sizes),
        )
    if known.body is None:
        return place, file
    file.close()
    return place, None


def _find(roots: Sequence[Root], path: bytes, *, cached: bool) -> tuple[PathPlace, OpenFile | None]:
    index = not path or path.endswith(b"/")
    wanted = path + INDEX if index else path
    refused = False
    for root in roots:
        try:
            file = root.open(wanted, cached=cached)
        except IsADirectoryError:
            if not index and _has_index(root, path, cached=cached):
                return PathPlace(root=root, path=path, directory=True), None
        except PermissionError:
            refused = True
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
        else:
            return PathPlace(root=root, path=wanted, identity=file.identity), file
    return PathPlace(path=wanted, refused=refused), None


def _has_index(root: Root, path: bytes, *, cached: bool) -> bool:
    return _peek(root, path + b"/" + INDEX, cached=cached) is not None


def _sizes_of_siblings(root: Root, path: bytes, original: OpenFile, *, cached: bool) -> dict[bytes, int]:
    sizes = {}
    for coding, suffix in SUFFIXES.items():
        said = _peek(root, path + suffix, cached=cached)
        if said is not None and is_current(modified=said[1], original=original.modified):
            sizes[coding] = said[0]
    return sizes


def _peek(root: Root, path: bytes, *, cached: bool) -> tuple[int, int] | None:
    """Size and time of a file; None if there is none that can be read."""
    try:
        file = root.open(path, cached=cached)
    except BlockingIOError:
        raise
    except OSError:
        return None
    said = file.size, file.modified
    file.close()
    return said
