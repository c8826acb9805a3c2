"""Reads the pages of a pool for the proxy's own errors: a directory with NNN.html (`error_pages`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

from hotswap.control.configuration.outside import read_file, read_within
from hotswap.core.pool.pause_answer import MAX_PAGE_BYTES

NAME: Final = re.compile(r"([45][0-9]{2})\.html")
"""Name of a page: the status it is for."""
MAX_ENTRIES: Final = 4096
"""Entries of a directory that are looked at; whatever else is in it is nobody's business here."""
MAX_ALL_BYTES: Final = 16 * 1024 * 1024
"""Bytes of all pages of a pool: they are kept in memory."""


def read_error_pages(directory: str) -> tuple[dict[int, bytes], list[str]]:
    """Read the pages in a directory, each by its status; blocks, up to `READ_TIMEOUT` for each.

    Returns:
        The pages, and what is wrong with the directory, each as what it should be.
    """
    try:
        names = read_within(partial(_names, directory), directory)
    except OSError as error:
        reason = "there is none: make it, or name another" if isinstance(error, FileNotFoundError) else _reason(error)
        return {}, [f"a directory with pages such as 503.html; {directory}: {reason}"]
    wrong = [] if names else [f"a directory with pages such as 503.html; there is none in {directory}"]
    pages: dict[int, bytes] = {}
    for name in names:
        path = os.path.join(directory, name)
        try:
            page = pages[int(name[:3])] = read_file(path, MAX_PAGE_BYTES + 1)
        except OSError as error:
            wrong.append(f"a directory with pages that can be read; {path}: {_reason(error)}")
        else:
            wrong += [f"a directory with pages of HTML in UTF-8; {path} {fault}" for fault in _faults(page)]
    if sum(map(len, pages.values())) > MAX_ALL_BYTES:
        wrong.append(f"a directory with at most 16 MiB of pages; {directory} has more")
    return pages, wrong


def page_paths(directory: str) -> list[str]:
    """Give the paths of the pages in a directory; none where it cannot be listed. Blocks."""
    try:
        return [os.path.join(directory, name) for name in read_within(partial(_names, directory), directory)]
    except OSError:
        return []


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _names(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in islice(entries, MAX_ENTRIES) if _is_page(entry))


def _is_page(entry: os.DirEntry[str]) -> bool:
    return NAME.fullmatch(entry.name) is not None and not entry.is_dir()


def _faults(page: bytes) -> Iterator[str]:
    if not page:
        yield "is empty"
    elif len(page) > MAX_PAGE_BYTES:
        yield "is larger than 1 MiB"
    else:
        try:
            page.decode()
        except UnicodeDecodeError as error:
            yield f"has another byte at {error.start}: iconv -f ISO-8859-1 -t UTF-8"
