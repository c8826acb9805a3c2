"""Pages of the documentation as programs: what they tell the reader to write and to type is written and typed.

On a page, a fenced block is one of these:

- A file: its first line, or the one below `#!`, is a comment with the name of the file and nothing else, such as
  `# shop/views.py`.
- `console`: lines with `$ ` are typed, in order; a trailing backslash goes on in the next line. Below a command stands
  what it is said to print: each line must occur, in this order. `…` stands for anything, and a number for any number.
  A command that ends with the comment `# exit code N` must end with N, any other with 0.
- `console needs=WORD`: commands that cannot be run everywhere; `tests/test_docs.py` has a check for each word.
- Anything else is for reading.

`tests.support.reader` does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<words>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
FILE_NAME = re.compile(r"(?:#|//|;|<!--) (?P<name>/?[\w.-]+(?:/[\w.-]+)*)(?: -->)?$")
EXIT_CODE = re.compile(r"\s+# exit code (\d+)\b.*$")
NEEDS = re.compile(r"\bneeds=(\w+)")
ENDLESS = re.compile(r"(\S*/)?hotswap (run|events)\b|(\S*/)?hotswap status --watch|make demo$|while ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A command, with what the page says about it.

    Attributes:
        line: where it is on the page.
        text: what is typed.
        printed: lines that it is said to print.
        code: how it is said to end.
    """

    line: int
    text: str
    printed: tuple[str, ...]
    code: int

    @property
    def endless(self) -> bool:
        """It runs until it is stopped."""
        return ENDLESS.match(self.text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file that the reader is told to write."""

    line: int
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Commands that are checked in another way."""

    line: int
    needs: str
    commands: tuple[Typed, ...]


Step = Typed | Written | Elsewhere


def steps(page: str) -> Iterator[Step]:
    """Give what a page tells its reader to do, in order."""
    for block in FENCE.finditer(page):
        line = page.count("\n", 0, block.start()) + 1
        indent = len(block["indent"])
        lines = [text[indent:] for text in block["text"].splitlines()]
        if block["language"] == "console":
            commands = tuple(_commands(lines, line))
            if needs := NEEDS.search(block["words"]):
                yield Elsewhere(line=line, needs=needs[1], commands=commands)
            else:
                yield from commands
        elif name := next((FILE_NAME.match(text) for text in lines if not text.startswith("#!")), None):
            yield Written(line=line, name=name["name"], text="\n".join(lines) + "\n")


def _commands(lines: list[str], first: int) -> Iterator[Typed]:
    rest = list(enumerate(lines, first + 1))
    while rest:
        number, text = rest.pop(0)
        assert text.startswith("$ "), f"line {number}: what is printed stands below its command"
        text = text.removeprefix("$ ")
        while text.endswith("\\"):
            text = f"{text}\n{rest.pop(0)[1]}"
        printed = []
        while rest and not rest[0][1].startswith("$ "):
            printed.append(rest.pop(0)[1])
        code = EXIT_CODE.search(text)
        yield Typed(
            line=number,
            text=EXIT_CODE.sub("", text),
            printed=tuple(one for one in printed if one.strip()),
            code=int(code[1]) if code else 0,
        )


def missing_line(printed: tuple[str, ...], output: str) -> str | None:
    """Give the first line of a page that a command did not print, in order; None when all are there."""
    lines = iter(output.splitlines())
    for wanted in printed:
        pattern = re.escape(wanted.strip())
        pattern = re.sub(r"\d+(\\\.\d+)?", r"\\d+(\\.\\d+)?", pattern).replace("…", ".*")
        # Space is for the eye.
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
        if not any(re.fullmatch(pattern, line.strip()) for line in lines):
            return wanted
    return None
