"""The configuration as a file: what the disk adds to what the text says."""

from __future__ import annotations

import errno
import grp
import os
import re
import shutil
import stat
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import trustme

from hotswap.control.configuration.loading import (
    describe_unreadable,
    load_configuration,
    locate_problems,
)
from hotswap.control.configuration.path import find_configuration
from hotswap.core.config import SupervisedPoolTable
from hotswap.core.errors import ConfigError, Problem

CONF = Path(__file__).parents[3] / "conf"
LEAST = """
[listeners.public]
bind = ["127.0.0.1:8000"]
[[routes]]
pool = "web"
[pools.web]
server = "uvicorn"
app = "shop.asgi:app"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hotswap.toml"


def problems(file: Path, text: str) -> dict[str, str]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_configuration(file)
    return {problem.path: problem.allowed for problem in caught.value.problems}


def told(path: Path) -> list[str]:
    """What is said about a file, line by line."""
    with pytest.raises(ConfigError) as caught:
        load_configuration(path)
    return str(caught.value).splitlines()


def make_certificate(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    certificate = trustme.CA().issue_cert(name)
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(folder / f"{name}.pem"), append=True)


class TestLoading:
    """From a path to a configuration that can be run."""

    def test_paths_are_absolute_wherever_hotswap_is_started(self, file, monkeypatch):
        """Also when the file itself was named by a relative path."""
        file.write_text(LEAST, encoding="utf-8")
        monkeypatch.chdir(file.parent)
        pool = load_configuration(file.name).pools["web"]
        assert isinstance(pool, SupervisedPoolTable)
        assert pool.directory == str(file.parent)

    def test_nothing_is_created(self, file):
        """Checking a file changes nothing, so it can be done by anyone at any time."""
        file.write_text(LEAST, encoding="utf-8")
        load_configuration(file)
        assert os.listdir(file.parent) == [file.name]

    def test_a_byte_order_mark_is_not_part_of_the_text(self, file):
        """Some editors write one."""
        file.write_text(LEAST, encoding="utf-8-sig")
        assert "web" in load_configuration(file).pools

    def test_a_directory_that_is_a_symbolic_link_stays_one(self, file):
        """It is resolved once for each rollout, so it must not be resolved here."""
        (file.parent / "r1").mkdir()
        (file.parent / "current").symlink_to("r1")
        file.write_text(LEAST + 'directory = "current"\n', encoding="utf-8")
        pool = load_configuration(file).pools["web"]
        assert isinstance(pool, SupervisedPoolTable)
        assert pool.directory == str(file.parent / "current")


class TestStateDirectory:
    """Where state is kept when the file does not say it."""

    def test_it_is_filled_in_unless_the_file_says_it(self, file):
        """Whoever reads the configuration never sees it empty."""
        file.write_text(LEAST, encoding="utf-8")
        assert load_configuration(file, environ={}).proxy.state_dir == str(file.parent / ".hotswap")
        file.write_text('proxy.state_dir = "state"\n' + LEAST, encoding="utf-8")
        told = load_configuration(file, environ={"XDG_RUNTIME_DIR": "/run/user/1"})
        assert told.proxy.state_dir == str(file.parent / "state")


class TestFinding:
    """Which file is used when none is named."""

    def test_the_working_directory_comes_first(self, file, monkeypatch):
        """As with most tools."""
        file.write_text(LEAST, encoding="utf-8")
        monkeypatch.chdir(file.parent)
        assert find_configuration() == file
        assert "web" in load_configuration().pools

    def test_without_any_file_both_places_are_named(self, tmp_path, monkeypatch):
        """So that the next step is clear."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("hotswap.control.configuration.path.SYSTEM_FILE", tmp_path / "etc" / "hotswap.toml")
        with pytest.raises(ConfigError) as caught:
            find_configuration()
        (problem,) = caught.value.problems
        assert str(tmp_path / "hotswap.toml") in problem.allowed
        assert str(tmp_path / "etc" / "hotswap.toml") in problem.allowed
        assert "hotswap init" in problem.allowed


class TestWhatIsMissing:
    """Problems that only the disk can tell, in one list with all others."""

    def test_they_come_together_with_those_of_the_text(self, file):
        """Also while the text itself is wrong."""
        found = problems(
            file,
            """
            [proxy]
            log_level = "loud"
            access_log = "missing/access.log"
            user = "nobody-of-this-name"
            [admin]
            bind = ["0.0.0.0:9900"]
            token_file = "token"
            [listeners.public]
            bind = ["127.0.0.1:8000"]
            [listeners.public.tls]
            certificates = [{ cert = "a.pem", key = "a.key" }]
            [[routes]]
            pool = "wbe"
            [pools.web]
            server = "uvicorn"
            directory = "current"
            environment_file = "web.env"
            python = "venv/bin/python"
            """,
        )
        assert list(found) == [
            "proxy.log_level",
            "proxy.access_log",
            "proxy.user",
            "admin.token_file",
            "listeners.public.tls.certificates[0].cert",
            "listeners.public.tls.certificates[0].key",
            "routes[0].pool",
            "pools.web.app",
            "pools.web.directory",
            "pools.web.environment_file",
            "pools.web.python",
        ]
        assert "No such file" in found["admin.token_file"]

    def test_a_file_that_is_not_there_is_a_problem_like_others(self, tmp_path):
        """Not a traceback."""
        path = tmp_path / "none.toml"
        wanted = (
            f'{path}: file must be a configuration, is missing; name one that exists, or write one with "hotswap init"'
        )
        assert told(path) == [wanted]
        path.symlink_to("nowhere.toml")
        assert "is a symbolic link to nowhere.toml, which does not exist; " in told(path)[0]

    def test_a_directory_in_place_of_the_file_is_said_so(self, tmp_path):
        """A mistake that completion in a shell makes easy."""
        assert told(tmp_path) == [
            f"{tmp_path}: file must be a file, is a directory; name the file in it, such as {tmp_path}/hotswap.toml"
        ]

    def test_a_file_that_may_not_be_read_is_told_with_who_asks(self, file):
        """The user is not always whom one thinks."""
        error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        problem = str(describe_unreadable(file, error))
        assert problem.startswith(
            f"{file}: file must be readable, is not permitted; user {os.geteuid()} may not read it"
        )

    def test_bytes_that_are_not_utf_8_are_shown_with_their_line(self, file):
        """TOML is UTF-8, whatever the editor thinks."""
        file.write_bytes(b"[proxy]\nuser = '\xfc'\n")
        assert told(file) == [
            f"{file}:2: line must be UTF-8, is with the byte 0xfc, perhaps of ISO 8859-1; "
            f"save it as UTF-8: iconv -f ISO-8859-1 -t UTF-8 {file} > new.toml"
        ]

    @pytest.mark.parametrize(
        ("encoding", "named"), [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16LE"), ("utf-16-be", "UTF-16BE")]
    )
    def test_a_file_in_utf_16_is_told_so_and_how_it_is_saved(self, file, encoding, named):
        """The advice is a command, and the file that it writes is good."""
        file.write_text(LEAST, encoding=encoding)
        assert told(file) == [
            f"{file}:1: file must be UTF-8, is UTF-16; save it as UTF-8: iconv -f {named} -t UTF-8 {file} > new.toml"
        ]
        file.write_text(file.read_bytes().decode(named.lower()), encoding="utf-8")
        load_configuration(file)

    def test_a_byte_order_mark_of_utf_8_is_no_mistake(self, file):
        """Some editors write it, and lines are counted as ever."""
        file.write_text(LEAST, encoding="utf-8-sig")
        load_configuration(file)
        file.write_text("[proxi]\n" + LEAST, encoding="utf-8-sig")
        assert told(file) == [f"{file}:1: proxi must be spelt proxy, is {{}}"]

    def test_a_problem_that_is_found_later_gets_its_line_from_the_file(self, file):
        """What the text cannot tell, such as a port that is in use, is in there all the same."""
        file.write_text(LEAST, encoding="utf-8")
        later = ConfigError(
            [Problem("pools.web.environment_file", "a", "b"), Problem("listeners.public.bind", "c", "d")]
        )
        located = locate_problems(later, file)
        assert [(problem.path, problem.line) for problem in located.problems] == [
            ("listeners.public.bind", 3),
            ("pools.web.environment_file", 6),
        ]
        file.unlink()
        assert locate_problems(later, file) is later

    def test_a_file_that_nobody_wrote_by_hand_is_not_read(self, file):
        """A wrong path must not fill the memory."""
        with file.open("wb") as stream:
            stream.truncate(5 * 1024 * 1024)
        with pytest.raises(ConfigError, match="at most 4 MiB"):
            load_configuration(file)

    @pytest.mark.parametrize("listen", ["unix", "tcp"])
    def test_a_state_directory_too_deep_for_sockets_is_a_problem(self, file, listen):
        """No backend could be started there, nor the proxy be reached; the default goes elsewhere (`state_place`)."""
        deep = file.parent / ("d" * 90)
        deep.mkdir()
        file = deep / "hotswap.toml"
        least = LEAST + f'listen = "{listen}"\n'
        file.write_text('proxy.state_dir = "state"\n' + least, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_configuration(file, environ={})
        (problem,) = caught.value.problems
        assert problem.path == "proxy.state_dir"
        assert "at most 107 bytes" in problem.allowed
        file.write_text(least, encoding="utf-8")
        for environ in ({"RUNTIME_DIRECTORY": "/run/hotswap"}, {}):
            load_configuration(file, environ=environ)

    def test_a_dangling_symbolic_link_is_told_where_it_points(self, file):
        """A deploy that stopped half-way looks like this."""
        (file.parent / "current").symlink_to("r2")
        found = problems(file, LEAST + 'directory = "current"\n')
        assert "a symbolic link to r2, which does not exist" in found["pools.web.directory"]

    def test_a_file_where_a_directory_should_be_is_said_so(self, file):
        """There is something, but not the right thing."""
        (file.parent / "current").touch()
        found = problems(file, LEAST + 'directory = "current"\n')
        assert "it is not a directory" in found["pools.web.directory"]

    def test_directories_of_sendfile_are_looked_at_before_the_start(self, file):
        """Each by its own line; a relative one is beside the file, and a prefix is one of whole segments."""
        (file.parent / "media").mkdir()
        (file.parent / "plain").touch()
        entries = '{ "/good/" = "media", "/" = ".", "/gone/" = "nowhere", "/file/" = "plain", "/empty/" = "" }'
        found = problems(file, LEAST + f"sendfile = {entries}\n")
        assert found.keys() == {f'pools.web.sendfile."/{name}/"' for name in ("gone", "file", "empty")}
        assert f"{file.parent}/nowhere: there is none" in found['pools.web.sendfile."/gone/"']
        for prefix, meant in (("media", "/media/"), ("/media", "/media/"), ("/a//b/", "/a/b/"), ("/../a/", "")):
            (wrong,) = problems(file, LEAST + f'sendfile = {{ "{prefix}" = "media" }}\n').values()
            assert 'begins and ends with "/"' in wrong
            assert wrong.endswith(f'write "{meant}"') or not meant
        file.write_text(LEAST + 'sendfile = { "/good/" = "media", "/good/b/" = "/tmp" }\n', encoding="utf-8")
        pool = load_configuration(file).pools["web"]
        assert pool.sendfile_roots == (("/good/b/", "/tmp"), ("/good/", f"{file.parent}/media"))

    def test_a_directory_where_a_file_should_be_is_said_so(self, file):
        """Existence alone does not help."""
        (file.parent / "web.env").mkdir()
        found = problems(file, LEAST + 'environment_file = "web.env"\n')
        assert "Is a directory" in found["pools.web.environment_file"]

    @pytest.mark.parametrize(("content", "mode", "reason"), [("s3cret", 0o644, "0644"), ("", 0o600, "is empty")])
    def test_a_token_that_cannot_be_used_is_found_before_the_start(self, file, content, mode, reason):
        """What `run` would refuse, `check` says."""
        token = file.parent / "token"
        token.write_text(content, encoding="utf-8")
        token.chmod(mode)
        found = problems(file, LEAST + "[admin]\ntoken_file = 'token'\n")
        assert reason in found["admin.token_file"]

    def test_a_pipe_is_not_opened(self, file):
        """Opening one would wait for its writer, and reading would take away what the backend needs."""
        os.mkfifo(file.parent / "web.env")
        file.write_text(LEAST + 'environment_file = "web.env"\n', encoding="utf-8")
        assert load_configuration(file).pools

    def test_an_interpreter_is_looked_up_in_path_when_it_has_no_slash(self, file):
        """As a shell would."""
        program = file.parent / "bin" / "python-of-the-app"
        program.parent.mkdir()
        program.touch()
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        file.write_text(LEAST + 'python = "python-of-the-app"\n', encoding="utf-8")
        load_configuration(file, environ={"PATH": str(program.parent)})
        with pytest.raises(ConfigError, match="python-of-the-app: there is none in PATH"):
            load_configuration(file, environ={"PATH": "/nowhere"})


class TestCertificates:
    """A certificate that could not be used is found before anything starts."""

    TLS = LEAST + '[listeners.public.tls]\ncertificates = [{ cert = "a.pem", key = "a.key" }]\n'

    def test_a_certificate_with_its_key_is_accepted(self, file):
        """Made by trustme, as the suite makes all of them."""
        make_certificate(file.parent, "a")
        file.write_text(self.TLS, encoding="utf-8")
        assert load_configuration(file).listeners["public"].tls is not None

    def test_the_key_of_another_certificate_is_a_problem(self, file):
        """The usual mistake of a renewal that wrote only one of the two."""
        make_certificate(file.parent, "a")
        make_certificate(file.parent, "b")
        shutil.copy(file.parent / "b.key", file.parent / "a.key")
        found = problems(file, self.TLS)
        assert "mismatch" in found["listeners.public.tls.certificates[0].key"]

    def test_what_is_no_certificate_is_a_problem(self, file):
        """Whatever else the file holds."""
        make_certificate(file.parent, "a")
        (file.parent / "a.pem").write_text("not a certificate\n", encoding="utf-8")
        found = problems(file, self.TLS)
        assert list(found) == ["listeners.public.tls.certificates[0].cert"]

    def test_what_is_no_key_is_a_problem(self, file):
        """Said in words, and not by the line of OpenSSL's source."""
        make_certificate(file.parent, "a")
        (file.parent / "a.key").write_text("not a key\n", encoding="utf-8")
        found = problems(file, self.TLS)
        assert "none in PEM form" in found["listeners.public.tls.certificates[0].key"]

    def test_a_key_with_a_password_does_not_ask_for_it(self, file):
        """A daemon has no terminal to ask at."""
        from cryptography.hazmat.primitives import serialization

        make_certificate(file.parent, "a")
        key_file = file.parent / "a.key"
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        found = problems(file, self.TLS)
        assert "without password" in found["listeners.public.tls.certificates[0].key"]


@pytest.mark.parametrize("name", sorted(str(path.relative_to(CONF)) for path in CONF.glob("**/*.toml")))
def test_every_example_loads_once_its_files_are_there(name):
    """An example names files of its user; given those, nothing is wrong with it."""
    # Where paths are short, as those of users are: a state directory may not be too deep for sockets.
    with tempfile.TemporaryDirectory(prefix="hotswap-") as directory:
        file = Path(directory) / Path(name).name
        text = (CONF / name).read_text(encoding="utf-8").replace('"hotswap"', f'"{grp.getgrgid(os.getegid()).gr_name}"')
        # Everything that is named by its whole path is laid into the directory instead.
        text = re.sub('"(?=/[a-z])', f'"{directory}', text).replace(f'path = "{directory}', 'path = "')
        file.write_text(text, encoding="utf-8")
        document = tomllib.loads(text)
        proxy = document.get("proxy", {})
        for named in (proxy.get("state_dir"), proxy.get("access_log")):
            if named is not None:
                (file.parent / named).parent.mkdir(parents=True, exist_ok=True)
        for pool in document["pools"].values():
            (file.parent / pool.get("directory", "")).mkdir(parents=True, exist_ok=True)
            if "python" in pool:
                Path(pool["python"]).parent.mkdir(parents=True)
                Path(pool["python"]).symlink_to(sys.executable)
            if "environment_file" in pool:
                Path(pool["environment_file"]).parent.mkdir(parents=True, exist_ok=True)
                Path(pool["environment_file"]).touch()
        for listener in document["listeners"].values():
            for pair in listener.get("tls", {}).get("certificates", []):
                make_certificate(file.parent / Path(pair["cert"]).parent, Path(pair["cert"]).stem)
        configuration = load_configuration(file)
    assert configuration.listeners
    assert configuration.pools


def test_the_demo_is_what_the_contract_promises():
    """HTTPS, the bounce listener and the admin API at their addresses, and two backends."""
    configuration = load_configuration(CONF / "demo.toml")
    addresses = {name: [str(a) for a in table.bind] for name, table in configuration.listeners.items()}
    assert addresses == {"public": ["127.0.0.1:8443"], "bounce": ["127.0.0.1:8080"]}
    assert [str(address) for address in configuration.admin.bind] == ["127.0.0.1:9900"]
    public, bounce = configuration.listeners["public"], configuration.listeners["bounce"]
    assert public.tls is not None
    assert public.tls.self_signed
    assert bounce.redirect is not None
    assert (bounce.redirect.port, bounce.redirect.status) == (8443, 301)
    (pool,) = configuration.pools.values()
    assert isinstance(pool, SupervisedPoolTable)
    assert pool.slots(1) == 2
