"""What prose cites is there: modules and what is in them, paths, tests, and rules by their letter and number.

Prose is every docstring and comment, and every page outside of its blocks of code. What is followed:

- A dotted name from one of our packages on, such as `hotswap.core.room`, in backticks or not.
- A path from a folder of the repository on, such as `docs/reference/strictness.md`; `*` stands for anything.
- A test by its name or its file's.
- A name in backticks, on pages about ourselves, with dots or a call or neither: each part of it occurs in code.
- A letter with a number: a row of the strictness reference.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [path for folder in ("proxy", "backends", "docs", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAYLOADS = sorted((ROOT / "tests" / "wire" / "payloads").glob("*.py"))
STRICTNESS = ROOT / "docs" / "reference" / "strictness.md"

FOLDERS = {"hotswap": "proxy", "hotswap_backends": "backends", "demo": "backends", "faulty": "backends", "tests": "."}
"""Where each package of ours lies."""
GUIDES = ("README.md", "docs/changelog.md", "docs/how-to/", "docs/tutorials/")
"""Pages about the reader's program more than about ours."""
FILES = {"hotswap.toml"}
"""Named like a package, and none."""
OF_READERS = {"main.py", "manage.py"}
"""Files of the projects that are put behind the proxy."""
OF_OTHERS = {
    "KB",
    "LOCAL",
    "api_key",
    "epoll_ctl",
    "epoll_wait",
    "logrotate",
    "no_application_protocol",
    "parse_url",
    "process_max_fds",
    "process_open_fds",
    "proxy_read_timeout",
    "recv_fds",
    "set_ecdh_curve",
    "trio_mode",
    "urldecode",
    "wait_",
}
"""Names of libraries, tools and protocols that no code of ours has."""
CONTROLS = {"C0", "C1"}
"""Sets of control characters, and no rules."""

QUOTED = re.compile(r'(?P<line>^[ \t]*)?[rR]?"""(?P<text>.*?)"""', re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"(?:^[ \t]*| {2})#:? (.*)$", re.MULTILINE)
CLASS = re.compile(r"^ *class (\w+)(?:\(([^:]*)\))?:", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Prose:
    """A piece of prose, and where it begins."""

    path: Path
    line: int
    text: str


def blank(match: re.Match[str]) -> str:
    """Leave nothing but the ends of lines, so that they can be counted."""
    return "\n" * match[0].count("\n")


@dataclass(frozen=True, slots=True)
class Tree:
    """What is said, and what it may be about.

    Attributes:
        prose: all of it.
        words: of code, of all files.
        classes: by name, the words of the file that each is in, and of what it inherits from.
    """

    prose: list[Prose]
    words: set[str]
    classes: dict[str, list[tuple[set[str], list[str]]]]

    def has(self, name: str, attribute: str) -> bool:
        """Whether a class may have it; true as well of what is no class of ours."""
        return name not in self.classes or any(
            attribute in words or any(base in self.classes and self.has(base, attribute) for base in bases)
            for words, bases in self.classes[name]
        )


@cache
def read() -> Tree:
    """Read the repository."""
    tree = Tree([], set(), {})
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        for match in QUOTED.finditer(text):
            if match["line"] is None:
                tree.words.update(re.findall(r"\w+", match["text"]))
            else:
                tree.prose.append(Prose(path, text.count("\n", 0, match.start("text")) + 1, match["text"]))
        code = QUOTED.sub(blank, text)
        for match in COMMENT.finditer(code):
            tree.prose.append(Prose(path, code.count("\n", 0, match.start(1)) + 1, match[1]))
        code = COMMENT.sub("", code)
        words = {*re.findall(r"\w+", code), *path.relative_to(ROOT).with_suffix("").parts}
        tree.words.update(words)
        for match in CLASS.finditer(code):
            tree.classes.setdefault(match[1], []).append((words, re.findall(r"\w+", match[2] or "")))
    for path in PAGES:
        tree.prose.append(Prose(path, 1, FENCED.sub(blank, path.read_text(encoding="utf-8"))))
    return tree


def cited(pattern: str, *, pages: bool = True) -> Iterator[tuple[str, re.Match[str]]]:
    """Each place that a pattern finds in prose."""
    for piece in read().prose:
        if pages or piece.path.suffix == ".py":
            for match in re.finditer(pattern, piece.text):
                line = piece.line + piece.text.count("\n", 0, match.start())
                yield f"{piece.path.relative_to(ROOT)}:{line}: {match[0]}", match


@cache
def is_there(dotted: str) -> bool:
    """Whether there is such a module, or a name in one; of a longer path its last name."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT / FOLDERS[parts[0]] / Path(*parts[:count])
        for module in (place.with_suffix(".py"), place / "__init__.py"):
            if module.exists():
                text = module.read_text(encoding="utf-8")
                return all(re.search(rf"\b{name}\b", text) for name in parts[count:])
        if place.is_dir():
            return count == len(parts)
    return False


def test_modules_and_names_in_them_are_there():
    """From the package on."""
    packages = "|".join(FOLDERS)
    found = list(cited(rf"(?<![\w./@-])(?:{packages})(?:\.[A-Za-z_]\w*)+"))
    assert len(found) > 50
    assert not [place for place, match in found if match[0] not in FILES and not is_there(match[0])]


def test_paths_are_there():
    """From the folder of the repository on; behind `::` is a test of that file."""
    found = list(cited(r"(?<![\w./@~-])((?:proxy|backends|tests|docs|conf|\.ci)/[\w./*-]*[\w*/])(?:::(\w+))?"))
    assert len(found) > 20
    lost = []
    for place, match in found:
        files = list(ROOT.glob(match[1].rstrip("/")))
        test = f"def {match[2]}(" if match[2] else ""
        if not any(not test or test in file.read_text(encoding="utf-8") for file in files):
            lost.append(place)
    assert not lost


def test_files_and_tests_are_there():
    """By the name of the file, with a few of its folders or none, or of the test."""
    paths = [path.relative_to(ROOT).parts for path in [*SOURCES, *PAGES]]
    names = {"/".join(parts[first:]) for parts in paths for first in range(len(parts))} | read().words | OF_READERS
    found = [*cited(r"\btest_\w+\b(?:\.py)?"), *cited(r"(?:\w+/)*\b[\w-]+\.md\b", pages=False)]
    found += ((place, match) for place, match in cited(r"`((?:\w+/)*\w+\.py)`") if not place.startswith(GUIDES))
    assert not [place for place, match in found if match[match.lastindex or 0] not in names]


def test_names_are_of_something():
    """Whoever renames something finds what is said of it."""
    known = read().words | set(dir(builtins)) | OF_OTHERS
    lost = []
    for pattern in (r"`((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w+)`", r"`((?:\w+\.)*\w+)\([^`\n]*\)`"):
        for place, match in cited(pattern):
            if not place.startswith(GUIDES) and not (match[1] in FILES or known.issuperset(match[1].split("."))):
                lost.append(place)
    assert not lost


def test_what_is_said_of_a_class_is_in_its_file():
    """Or in that of a class that it inherits from."""
    found = list(cited(r"`(?:[a-z_]\w*\.)*([A-Z]\w+)\.(\w+)(?:\([^`\n]*\))?`"))
    assert len(found) > 20
    assert not [place for place, match in found if not read().has(match[1], match[2])]


def test_rules_are_there():
    """Each has its row in the reference."""
    rules = set(re.findall(r"^\| ([A-Z]\d+) \|", STRICTNESS.read_text(encoding="utf-8"), re.MULTILINE)) | CONTROLS
    found = [(place, match[0]) for place, match in cited(r"(?<![\w.`/+-])[A-Z]\d{1,2}(?![\w`-])")]
    for path in PAYLOADS:  # each begins its name with its rule
        found += (
            (name, name.split()[0]) for name in re.findall(r'"([A-Z]\d{1,2} .*?)"', path.read_text(encoding="utf-8"))
        )
    assert len(found) > 200
    assert not [place for place, rule in found if rule not in rules]
