"""Tables of the proxy process: `[proxy]` and `[admin]`."""

from __future__ import annotations

from enum import StrEnum

from hotswap.core.config.fields import AddressField, Duration, FilePath, LogPath, Table


class LogLevel(StrEnum):
    """The least severe record that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How records are written to stderr."""

    AUTO = "auto"
    """`console` on a terminal, `json` elsewhere."""
    CONSOLE = "console"
    JSON = "json"


class AccessLogFormat(StrEnum):
    """How exchanges are written to the access log."""

    AUTO = "auto"
    """`console` on standard output where that is a terminal, `json` elsewhere."""
    CONSOLE = "console"
    JSON = "json"
    COMBINED = "combined"
    """The format of Apache and nginx, for programs that read theirs."""


class ProxyTable(Table):
    """The process: where it keeps its state, how it logs, how it ends."""

    state_dir: FilePath = ""
    """Directory for the sockets of the admin API, of backends and of a takeover, mode 0700 (0710 with `admin.group`).
    Default: $RUNTIME_DIRECTORY, else .hotswap beside the file, else, where that cannot be written or is too deep for
    sockets, a directory of this configuration's own below /run/hotswap (root) or $XDG_STATE_HOME/hotswap. Used by one
    proxy at a time, and made again when it vanished."""

    log_level: LogLevel = LogLevel.INFO
    """The least severe record that is written."""

    log_format: LogFormat = LogFormat.AUTO
    """How records are written to stderr: `console` for people, a line each, or `json`; `auto` is `console` on a
    terminal and `json` elsewhere."""

    access_log: LogPath = "-"
    """One line for each exchange: `-` is stdout, anything else a path, `off` none."""

    access_log_format: AccessLogFormat = AccessLogFormat.AUTO
    """How each is written: `json` with everything that is known, `combined` as Apache and nginx write it, `console`
    shortly for people; `auto` is `console` on a terminal (unless `log_format` is `json`), `json` elsewhere."""

    shutdown_timeout: Duration = 30.0
    """How long a graceful stop waits for exchanges to finish before it cuts them."""

    user: str = ""
    """Become this user after binding; empty: stay who started it. A start is refused when the user could not read what
    a reload reads: the configuration, certificates and keys, `token_file`, and what the pools name."""


class AdminTable(Table):
    """Where the admin API answers, besides admin.sock in `proxy.state_dir`, which is always there."""

    bind: tuple[AddressField, ...] = ()
    """Further addresses, such as "127.0.0.1:9900" for the page in a browser; one that is neither loopback nor `unix:`
    needs `token_file`."""

    group: str = ""
    """Group that may use the Unix sockets of the admin API, which have mode 0660 then and 0600 without; empty: their
    owner alone. Who is in it needs no root to deploy, and can do whatever the user of the proxy can."""

    token_file: FilePath = ""
    """File whose first line callers have to send as `Authorization: Bearer`."""
