"""The development authority: made once, by one process, and whole."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest

from hotswap.edge.client.certificates import development_authority


def test_of_several_that_come_at_once_all_have_the_same_authority(tmp_path):
    """The first proxies of two projects may be started by one script; a wrong key would break both for good."""
    path = tmp_path / "hotswap" / "development-ca.pem"
    make = (
        "import sys; from pathlib import Path; from hotswap.edge.client.certificates import development_authority;"
        "print(development_authority(Path(sys.argv[1])).cert_pem.bytes().decode())"
    )
    several = [subprocess.Popen([sys.executable, "-c", make, path], stdout=subprocess.PIPE) for _ in range(4)]
    told = {one.communicate(timeout=50)[0].strip() for one in several}
    assert [one.returncode for one in several] == [0] * 4
    assert told == {path.read_bytes().strip()}
    assert stat.S_IMODE(path.with_suffix(".key").stat().st_mode) == 0o600


def test_a_key_without_its_certificate_is_replaced_with_it(tmp_path):
    """Somebody removed one of both, or a machine was switched off in between."""
    path = tmp_path / "development-ca.pem"
    first = development_authority(path).cert_pem.bytes()
    for lost in (path, path.with_suffix(".key")):
        lost.unlink()
        again = development_authority(path).cert_pem.bytes()
        assert again != first
        assert development_authority(path).cert_pem.bytes() == again
        first = again


def test_a_key_of_another_authority_is_no_authority(tmp_path):
    """What it signs nobody who trusts the certificate would take."""
    one, other = tmp_path / "a" / "development-ca.pem", tmp_path / "b" / "development-ca.pem"
    development_authority(one)
    development_authority(other)
    one.with_suffix(".key").write_bytes(other.with_suffix(".key").read_bytes())
    with pytest.raises(ValueError, match="another's"):
        development_authority(one)
