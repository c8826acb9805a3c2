"""Pages that people read: what they point at exists, and what they tell the reader to do does what they say."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from demo.welcome import TEXT
from docs.tools.generated import GENERATED
from hotswap.cli.group import VERBS
from tests.support.documented import Elsewhere, Typed, missing_line, steps
from tests.support.reader import lay_checkout, open_reader

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def headings(page: Path) -> set[str]:
    """Anchors of a page, made as forges make them: lower case, punctuation away, spaces to hyphens."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page):
    """Files are there, and so are the headings behind a #."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in headings(other), target


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_generated_is_not_stale(path):
    """`make docs` writes it anew."""
    assert path.read_text(encoding="utf-8") == GENERATED[path](), "run make docs"


@pytest.fixture
def directory() -> Iterator[Path]:
    """Empty, and with a name as short as those that people choose: Unix sockets are made below it."""
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def check_install(command: str) -> None:
    """What pip is told to install is what the tests run with; nothing is fetched."""
    words = command.removeprefix("sudo ").split()
    if words[:3] in (["python3", "-m", "venv"], ["git", "clone"]) or words[0] == ".":
        return
    assert (Path(words[0]).name, words[1]) == ("pip", "install"), command
    for name in words[2:]:
        if not name.startswith(("-", ".", "/", "~")):
            metadata.version(re.split(r"[\[=<>]", name)[0])


def check_systemd(command: str) -> None:
    """What is installed is in the checkout, and units that are spoken of are among it."""
    program, *words = [word for word in shlex.split(command) if word != "sudo" and not word.startswith("-")]
    match program:
        case "install":
            sources = [word for word in words[:-1] if "/" in word]
            assert sources, command
            assert all((ROOT / source).is_file() for source in sources), command
        case "systemctl":
            assert words[0] in {"daemon-reload", "enable", "reload", "restart", "status", "edit"}, command
            units = {path.name for path in (ROOT / "conf" / "systemd").iterdir()}
            assert {word if "." in word else f"{word}.service" for word in words[1:]} <= units, command
        case "ln":
            assert words == ["/opt/hotswap/bin/hotswap", "/usr/local/bin/hotswap"], command
        case "journalctl" | "useradd":
            assert words[-1] == "hotswap", command
        case _:
            raise AssertionError(command)


def check_debian(command: str) -> None:
    """Packages are those that the tests have; what is typed without a machine is about what such a package brings."""
    program, *words = [word for word in shlex.split(command) if not word.startswith("-")]
    if program == "apt-get":
        tools = re.findall(r"^TOOLS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[0].split()
        # Asks an authority on the network, which the tests do not; what it leaves is laid there instead.
        assert words[0] == "install"
        assert set(words[1:]) <= {*tools, "certbot"}, command
    else:
        assert program in {"install", "systemctl"}, command
        assert "prometheus" in command, command


def check_certbot(command: str) -> None:
    """The forms that need nothing but the port, and, once it is ours, nothing but a directory that we serve."""
    forms = ("certonly --standalone", "certonly --webroot --webroot-path /var/lib/hotswap/acme", "renew --dry-run")
    assert command.startswith(tuple(f"certbot {form}" for form in forms)), command


def check_container(command: str) -> None:
    """The file of the image is there, and so is everything that it copies; ports are those that it exposes."""
    words = shlex.split(command)
    assert words[:2] in (["docker", "build"], ["docker", "run"], ["docker", "exec"], ["docker", "stop"]), command
    image = (ROOT / "conf" / "container" / "Dockerfile").read_text(encoding="utf-8")
    if "--file" in words:
        assert (ROOT / words[words.index("--file") + 1]).is_file()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", image, re.MULTILINE):
        assert all((ROOT / source).exists() for source in copied.split()), copied
    exposed = re.findall(r"\d+", re.findall(r"^EXPOSE (.*)$", image, re.MULTILINE)[0])
    for number, word in enumerate(words):
        if word == "--publish":
            assert words[number + 1].rpartition(":")[2] in exposed, command
    if words[1] == "exec":
        assert words[3] == "hotswap"
        assert words[4] in VERBS, command


def check_checkout(command: str) -> None:
    """What make and pytest are asked for is there."""
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words) <= set(targets), command
    else:
        assert program == ".venv/bin/pytest", command
        source = (ROOT / words[0]).read_text(encoding="utf-8")
        assert "-k" not in words or words[words.index("-k") + 1] in "".join(re.findall(r"def (test_\w+)", source)), (
            command
        )


ELSEWHERE = {
    "install": check_install,
    "systemd": check_systemd,
    "debian": check_debian,
    "certbot": check_certbot,
    "container": check_container,
    "checkout": check_checkout,
}
"""What checks the commands that need something."""

GUIDES = [page for page in PAGES if page.parent.name in {"tutorials", "how-to"}]
IN_A_MACHINE = {"production.md"}
"""Pages for root of a machine of its own: tests/e2e/test_production.py follows them."""

DONE = [
    page
    for page in PAGES
    if page.name not in IN_A_MACHINE
    and any(isinstance(step, Typed) for step in steps(page.read_text(encoding="utf-8")))
]


IN_A_CHECKOUT = {"README.md", "first-rollout.md"}
"""Pages whose commands are typed in a checkout."""


@pytest.mark.fail_after(120)
async def test_every_line_that_the_demo_prints_works(directory):
    """`make demo` says what to try; somebody tries it, from the first line to the last."""
    lay_checkout(directory)
    # What a line is for stands behind it, or below it, far to the right.
    lines = [re.split(r" {3,}", line[2:])[0] for line in TEXT.splitlines() if re.match(r"  [^ h]", line)]
    assert len(lines) >= 5
    typed = "\n".join(f"$ {line}" for line in lines)
    promise = f"```console\n$ make demo\nThe demo is ready. Try…\n{typed}\n```\n"
    async with open_reader(directory) as reader:
        assert await reader.follow(promise) == len(lines) + 1


@pytest.mark.fail_after(120)
@pytest.mark.parametrize("page", DONE, ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_command_of_a_page_does_what_the_page_says(page, directory):
    """Files are written, commands typed in order, and what they print and how they end is as it stands there."""
    if page.name in IN_A_CHECKOUT:
        lay_checkout(directory)
    async with open_reader(directory) as reader:
        assert await reader.follow(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_cannot_be_run_everywhere_is_checked_otherwise(page):
    """Each kind of such commands by what knows it: pip, the units of systemd, the files of the image."""
    for step in steps(page.read_text(encoding="utf-8")):
        if isinstance(step, Elsewhere):
            for command in step.commands:
                ELSEWHERE[step.needs](command.text)


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_hides_in_a_block_that_is_not_run(page):
    """What looks like something to type is in a block that is."""
    text = re.sub(r"^ *```console.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"^ *\$ .*$|^ *```(?:sh|bash|shell)?$\n.*hotswap .*", text, re.MULTILINE)


def test_what_is_printed_is_compared_with_care():
    """Numbers are any numbers, `…` is anything, the order counts, and what is missing is found."""
    output = "a  7\nb 2.5 s\nc"
    assert missing_line(("a 1", "b 0.1 s"), output) is None
    assert missing_line(("b … s",), output) is None
    assert missing_line(("c", "a 7"), output) == "a 7"
    assert missing_line(("b",), output) == "b"
