"""Line numbers of keys: where each key, entry and table of a TOML text stands.

`tomllib` gives values without their places. The text is read a second time here, when something is wrong with it, and
only for the places: what it means was judged before, so that what is no TOML is read past.
"""

from __future__ import annotations

import re
import tomllib

Location = tuple[str | int, ...]
"""Keys and indexes from the top of the file down to one value."""

DEEPEST = 12
"""Keys and indexes of a location that are told apart; no key of the configuration is deeper than half of that."""

_BLANK = re.compile(r"[ \t\r\n,]*")
_BARE = re.compile(r"[^ \t\r\n.=\]\"'#,{}\[]*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_QUOTE_OR_ESCAPE = re.compile(r"[\"\\]")


class KeyLines:
    """KeyLines of the keys, entries and tables of a TOML text.

    Attributes:
        last: location of the last key or table header of the text.
    """

    def __init__(self, text: str) -> None:
        """Read a text, in linear time, whatever is in it."""
        self.last: Location = ()
        self._text = text
        self._position = 0
        self._counted = 0
        self._line = 1
        self._lines: dict[Location, int] = {}
        self._entries: dict[Location, int] = {}
        table: Location = ()
        while self._skip_blank():
            if text[self._position] == "[":
                table = self._read_header()
            else:
                before = self._position
                self._read_pair(table)
                # Only what is no TOML can stand in the way.
                self._position = max(self._position, before + 1)

    def of(self, location: Location) -> int:
        """Line of a key, entry or table, or else of the nearest one around it; 1 where there is none."""
        known = location[:DEEPEST]
        while known and known not in self._lines:
            known = known[:-1]
        return self._lines.get(known, 1)

    def has(self, location: Location) -> bool:
        """Tell whether a key, entry or table stands in the text."""
        return location[:DEEPEST] in self._lines

    def _note(self, location: Location, *, opened: bool = False) -> None:
        """Note that a location begins here; a header says more than the tables inside it that came before."""
        newlines = self._text.count("\n", self._counted, self._position)
        self._line, self._counted = self._line + newlines, self._position
        if opened:
            self._lines[location] = self._line
        else:
            self._lines.setdefault(location, self._line)

    def _skip_blank(self) -> bool:
        """Skip what separates values, comments included; tell whether anything is left."""
        text = self._text
        while True:
            match = _BLANK.match(text, self._position)
            self._position = match.end() if match is not None else len(text)
            if not text.startswith("#", self._position):
                return self._position < len(text)
            end = text.find("\n", self._position)
            self._position = end if end >= 0 else len(text)

    def _read_header(self) -> Location:
        is_entry = self._text.startswith("[[", self._position)
        self._position += 2 if is_entry else 1
        parts = self._read_key()
        location: Location = ()
        for number, part in enumerate(parts, start=1):
            location = (*location, part)[:DEEPEST]
            is_last = number == len(parts)
            if is_entry and is_last:
                self._note(location)
                self._entries[location] = self._entries.get(location, -1) + 1
            if location in self._entries:
                location = (*location, self._entries[location])[:DEEPEST]
            self._note(location, opened=is_last)
        self.last = location
        end = self._text.find("\n", self._position)
        self._position = end if end >= 0 else len(self._text)
        return location

    def _read_pair(self, table: Location) -> None:
        """Read a key and its value, with everything inside it."""
        text = self._text
        location = self._read_assigned(table)
        around: list[tuple[Location, int]] = []  # lists and their next index; inline tables and -1
        while self._skip_blank():
            match text[self._position]:
                case "[":
                    around.append((location, 0))
                    self._position += 1
                case "{":
                    around.append((location, -1))
                    self._position += 1
                case _:
                    self._skip_scalar()
            while around and self._skip_blank() and text[self._position] in "]}":
                around.pop()
                self._position += 1
            if not around or self._position >= len(text):
                return
            before = self._position
            above, index = around.pop()
            if index < 0:
                around.append((above, -1))
                location = self._read_assigned(above)
                if self._position == before:
                    return
            else:
                around.append((above, index + 1))
                location = (*above, index)[:DEEPEST]
                self._note(location)

    def _read_assigned(self, table: Location) -> Location:
        """Read a key up to its value; what it is in counts as beginning there unless it began before."""
        location = table
        here = self._position
        parts = self._read_key()
        behind, self._position = self._position, here
        for part in parts:
            location = (*location, part)[:DEEPEST]
            self._note(location)
        self._position = behind
        self.last = location
        if self._text.startswith("=", behind):
            self._position += 1
        return location

    def _read_key(self) -> list[str]:
        """Read a key, dotted or not, bare or in quotes, and the blanks behind it."""
        text = self._text
        parts: list[str] = []
        while True:
            self._skip_spaces()
            if text[self._position : self._position + 1] in ("'", '"'):
                start = self._position
                self._skip_string()
                parts.append(_unquoted(text[start : self._position]))
            else:
                match = _BARE.match(text, self._position)
                assert match is not None, "it matches nothing, too"
                parts.append(match[0])
                self._position = match.end()
            self._skip_spaces()
            if not text.startswith(".", self._position):
                return parts
            self._position += 1

    def _skip_spaces(self) -> None:
        while self._text[self._position : self._position + 1] in (" ", "\t"):
            self._position += 1

    def _skip_scalar(self) -> None:
        if self._text[self._position] in "'\"":
            self._skip_string()
            return
        match = _SCALAR.match(self._text, self._position)
        self._position = match.end() if match is not None else len(self._text)

    def _skip_string(self) -> None:
        text, start = self._text, self._position
        quote = text[start]
        mark = quote * 3 if text.startswith(quote * 3, start) else quote
        self._position = start + len(mark)
        self._position = self._find_closing(mark)
        if len(mark) == 3:
            # Up to two quotes may stand before the closing three.
            for _ in range(2):
                self._position += text.startswith(quote, self._position)

    def _find_closing(self, mark: str) -> int:
        """Find the position behind the closing mark; a string in single marks ends with its line at the latest."""
        text, position = self._text, self._position
        limit = text.find("\n", position) if len(mark) == 1 else len(text)
        limit = len(text) if limit < 0 else limit
        while True:
            if mark[0] == "'":
                found = text.find(mark, position, limit)
            else:
                match = _QUOTE_OR_ESCAPE.search(text, position, limit)
                found = match.start() if match is not None else -1
                if found >= 0 and text[found] == "\\":
                    position = found + 2
                    continue
                if found >= 0 and not text.startswith(mark, found):
                    position = found + 1
                    continue
            return found + len(mark) if found >= 0 else limit


def _unquoted(raw: str) -> str:
    """Give the key that stands in quotes."""
    if raw[0] == "'" or "\\" not in raw:
        return raw[1:-1]
    try:
        return str(tomllib.loads(f"key = {raw}")["key"])
    except tomllib.TOMLDecodeError:
        return raw[1:-1]
