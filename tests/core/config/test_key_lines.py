"""Line numbers of keys, compared with what tomllib reads and with where a value can be seen to stand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotswap.core.config.key_lines import DEEPEST, KeyLines, Location

EVERY_FORM = '''\
# a = 0
a = 101
"b c".d = 102
'e.f' = "# no comment"
g = """
g2 = 1
[g3]
\\""" h = 1 """"
i = \'\'\'
[[i2]]
''\'\'\'
j = [ # ]
  103,
  [104,
   105], "]", { k = 106, "l".m = [107] },
]
n = { o = { p = 108 }, q = 109 }
r = 1979-05-27 07:32:00

[s.t.u]
v = 110
[s] # one that is opened after what is inside it
w = 111
[[x]]
y = 112
[x.z]
y = 113
[[x]]
[[x.z]]
y = 114
[[x.z]]
y = 115
'''


def leaves(value: object, location: Location = ()) -> Iterator[tuple[Location, object]]:
    """Every value of a document that has none inside it, with its location."""
    inner: list[tuple[Any, object]] = []
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        yield location, value
    for part, below in inner:
        yield from leaves(below, (*location, part))


def locations(value: object, location: Location = ()) -> Iterator[Location]:
    """Every table, list and value below the top of a document."""
    if location:
        yield location
    inner: list[tuple[Any, object]] = []
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for part, below in inner:
        yield from locations(below, (*location, part))


def assert_found_where_they_stand(text: str) -> int:
    """Compare the line of every number from 100 on, each of which is in the text once; count them."""
    count = 0
    for location, value in leaves(tomllib.loads(text)):
        if type(value) is int and value >= 100:
            assert str(value) in text.split("\n")[KeyLines(text).of(location) - 1]
            count += 1
    return count


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_form_of_a_key_has_its_line(newline):
    """Dotted, in quotes, in braces, in lists over many lines, in tables and in lists of tables."""
    assert assert_found_where_they_stand(EVERY_FORM.replace("\n", newline)) == 15


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("g",), 5),
        (("i",), 9),
        (("j",), 12),
        (("j", 1), 14),
        (("j", 2), 15),
        (("j", 3), 15),
        (("n", "o"), 17),
        (("s",), 22),
        (("s", "t"), 20),
        (("s", "t", "u"), 20),
        (("x",), 24),
        (("x", 1), 28),
        (("x", 1, "z", 1), 31),
        (("s", "missing"), 22),
        (("x", 0, "missing", "below"), 24),
        (("missing",), 1),
        ((), 1),
    ],
)
def test_tables_lists_and_what_is_missing_have_lines(location, line):
    """A table that of its header, and a key that is missing that of its table."""
    assert KeyLines(EVERY_FORM).of(location) == line


KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f.g'", '"\\u0068"', "1"])
NOISE = st.sampled_from(["", " ", " # [x] = '", "\n", "\n# }\n"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Texts with numbers from 100 on, each once, in every form that TOML has."""
    numbers = iter(range(100, 1000))

    def value(depth: int) -> str:
        form = draw(st.sampled_from(["number", "text", "list", "table"] if depth < 3 else ["number", "text"]))
        match form:
            case "number":
                return str(next(numbers))
            case "text":
                return draw(
                    st.sampled_from(['"]"', "'{'", '"\\""', '"""\na = 1\n"""', "'''\n[x]\n''''", "1.5", '""""x"""'])
                )
            case "list":
                items = [draw(NOISE) + value(depth + 1) + draw(NOISE) + "\n" for _ in range(draw(st.integers(0, 3)))]
                return f"[{','.join(items)}{draw(NOISE)}\n]"
            case _:
                keys = draw(st.lists(KEYS, max_size=3, unique=True))
                return "{" + ", ".join(f"{key}.x = {value(3)}" for key in keys) + "}"

    lines = []
    for name in draw(st.lists(st.sampled_from(["", "[t]", "[[u]]", "[u.v]", "[t.w.x]"]), max_size=6)):
        keys = draw(st.lists(KEYS, max_size=3, unique=True))
        lines += [name, *(f"{key} = {value(0)}" for key in keys)]
    return "\n".join(lines)


@given(documents())
@example('a = [ # ]\n100,]\n[[u]]\nb = """\n\\""" # """\n[[u]]\nb = 101')
def test_lines_are_those_of_the_values(text):
    """Whatever the document, every key and entry that tomllib reads is found, and on the line on which it stands."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # a key or table twice
    lines = KeyLines(text)
    assert [location for location in locations(document) if not lines.has(location)] == []
    assert_found_where_they_stand(text)


@given(st.text(alphabet="a1=.[]{}\"'#,\\ \n\r\té", max_size=60))
def test_no_text_is_too_odd_to_be_read(text):
    """No TOML ends it; and what is TOML is found as a whole."""
    lines = KeyLines(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert [location for location in locations(document) if not lines.has(location)] == []


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{",
        '"',
        "'",
        '"\n',
        '"\\',
        "a.",
        "a=[",
        "a={",
        "[[a]]\n",
        "[a.a]\n",
        "a=[[1],\n",
        '"""',
        "#",
        "=",
        ".",
        "]\n",
    ],
)
def test_hostile_texts_cost_linear_time(piece):
    """A megabyte of anything is read; what grows with its square would take minutes."""
    KeyLines(piece * (1_000_000 // len(piece)))


def test_deeper_than_any_key_of_a_configuration_lines_are_those_of_the_table_above():
    """So that a key with a million parts costs no more than its letters."""
    path = ".".join("a" * (DEEPEST + 5))
    assert KeyLines(f"b = 1\n{path} = 2").of(("a",) * (DEEPEST + 5)) == 2
