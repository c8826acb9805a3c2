"""Types of configuration keys: each parses TOML, refuses with what is allowed, and serialises itself.

A validator here raises `ValueError` whose text is the whole "what is allowed" of the problem; the serializer
gives the TOML form again, so that defaults, the JSON Schema and the reference are all written from one place.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
)

from hotswap.core.address import ALLOWED as ADDRESS_ALLOWED
from hotswap.core.address import MAX_PATH_BYTES, Address, TcpAddress, UnixAddress, ip_of, parse_address
from hotswap.core.errors import written
from hotswap.core.http.rate import RATE_ALLOWED, RATE_PATTERN, RequestRate, parse_rate, rate_meant
from hotswap.core.http.statuses import STATUSES_ALLOWED, STATUSES_PATTERN, StatusSet, parse_statuses
from hotswap.core.quantities import (
    DURATION_ALLOWED,
    DURATION_PATTERN,
    SIZE_ALLOWED,
    SIZE_PATTERN,
    duration_meant,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    size_meant,
)

DIRECTORY = "directory"
"""Key of the validation context: the directory of the file, to which its relative paths belong."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"
"""Names stand in URLs, metrics and the paths of Unix sockets, which the kernel keeps short."""
NAME_ALLOWED = "a name of letters, digits, - and _, at most 40 of them, that begins with a letter or digit"


class Table(BaseModel):
    """Base of all tables: frozen, and an unknown key is an error.

    A validator is made when it is needed, which is one for all tables together, and what is said below the keys is read
    when they are described: both would be a part of every start.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, arbitrary_types_allowed=True)


def _nothing_meant(_value: object) -> str:
    return ""


def _text(
    parse: Callable[[str], Any], allowed: str, meant: Callable[[object], str] = _nothing_meant
) -> Callable[[object], Any]:
    """Make a validator of a function that parses a string; what is no string is refused with `allowed`, and with what
    was meant where that can be told."""

    def validate(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError(allowed + meant(value))
        return parse(value)

    return validate


def _matching(pattern: str, allowed: str, meant: Callable[[object], str] = _nothing_meant) -> BeforeValidator:
    """Make a validator of texts that match a pattern as a whole."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(allowed + meant(text))
        return text

    return BeforeValidator(_text(parse, allowed, meant))


Flag = StrictBool
"""true or false, never a string."""


def _more_than_zero(allowed: str) -> AfterValidator:
    def check(value: float | Literal[""]) -> float | Literal[""]:
        if value != "" and value <= 0:
            what, semicolon, way_out = allowed.partition("; ")
            raise ValueError(f"{what}, more than zero{semicolon}{way_out}")
        return value

    return AfterValidator(check)


Duration = Annotated[
    float,
    BeforeValidator(_text(parse_duration, DURATION_ALLOWED, duration_meant)),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "format": "duration", "pattern": DURATION_PATTERN}),
]
"""Seconds, zero or more."""

Period = Annotated[Duration, _more_than_zero(DURATION_ALLOWED)]
"""Seconds, more than zero."""

SizeOrNone = Annotated[
    int,
    PlainValidator(_text(parse_size, SIZE_ALLOWED, size_meant)),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "format": "size", "pattern": SIZE_PATTERN}),
]
"""Bytes, zero or more."""

Size = Annotated[SizeOrNone, _more_than_zero(SIZE_ALLOWED)]
"""Bytes, one or more."""

UNLIMITED = "unlimited"
SIZE_LIMIT_ALLOWED = f'{SIZE_ALLOWED}, or "{UNLIMITED}"'


def _limit_meant(value: object) -> str:
    if str(value).lower() in {"0", "-1", "none", "off", "no", "false", "infinite", "unlimited", ""}:
        return f'; write "{UNLIMITED}"'
    return size_meant(value)


def _parse_limit(text: str) -> int | None:
    if text == UNLIMITED:
        return None
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError(SIZE_LIMIT_ALLOWED + _limit_meant(text)) from None


def _write_limit(limit: int | None) -> str:
    return UNLIMITED if limit is None else format_size(limit)


SizeLimit = Annotated[
    int | None,
    PlainValidator(_text(_parse_limit, SIZE_LIMIT_ALLOWED, _limit_meant)),
    PlainSerializer(_write_limit, return_type=str),
    WithJsonSchema({"type": "string", "format": "size", "pattern": f"{SIZE_PATTERN}|^{UNLIMITED}$"}),
]
"""Bytes, or None where the file says "unlimited"."""

Count = Annotated[StrictInt, Field(ge=0, le=1_000_000_000)]
"""A whole number, 0 or more."""

Positive = Annotated[StrictInt, Field(ge=1, le=1_000_000_000)]
"""A whole number, 1 or more."""

PortNumber = Annotated[StrictInt, Field(ge=1, le=65535)]

AUTO: Literal["auto"] = "auto"
POOL_SIZE_ALLOWED = 'a whole number from 1 to 1000, or "auto" (one less than there are processors, at least 2)'


def _parse_pool_size(value: object) -> int | Literal["auto"]:
    if value == AUTO:
        return AUTO
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        number = re.fullmatch(r"([1-9]\d{0,2})(\.0)?", str(value), re.ASCII)
        quotes = ", without quotes" if isinstance(value, str) else ""
        raise ValueError(f"{POOL_SIZE_ALLOWED}{f'; write {number[1]}{quotes}' if number else ''}")
    return value


PoolSize = Annotated[
    int | Literal["auto"],
    PlainValidator(_parse_pool_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1000}, {"const": "auto"}]}),
]
"""How many slots, or "auto"."""


def _quotes_meant(value: object) -> str:
    numbers = value if isinstance(value, list) and value else [value]
    if all(isinstance(one, int) and not isinstance(one, bool) and 100 <= one <= 599 for one in numbers):
        return f'; write "{",".join(map(str, numbers))}"'
    return ""


BUFFERING_ALLOWED = 'true, false, or "auto" (for WSGI apps)'


def _parse_buffering(value: object) -> bool | Literal["auto"]:
    if value == AUTO or isinstance(value, bool):
        return value
    raise ValueError(BUFFERING_ALLOWED)


Buffering = Annotated[
    bool | Literal["auto"],
    PlainValidator(_parse_buffering),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": "auto"}]}),
]
"""Whether bodies are buffered, or "auto"."""

Statuses = Annotated[
    StatusSet,
    PlainValidator(_text(parse_statuses, STATUSES_ALLOWED, _quotes_meant)),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "statuses", "pattern": STATUSES_PATTERN}),
]


def _resolve(path: str, info: ValidationInfo) -> str:
    """Make a path absolute that is written relative to the file; an empty one stays empty."""
    if "\0" in path:
        raise ValueError("a path without NUL bytes")
    if path.startswith("~"):
        raise ValueError("a path in full, from /, or from the directory of this file; only a shell knows ~")
    directory = (info.context or {}).get(DIRECTORY)
    return path if not path or directory is None else resolve_path(path, directory)


def resolve_path(path: str, directory: str) -> str:
    """Join a path to the directory it is relative to, without following or removing any symbolic link."""
    if path in {".", "./"}:
        return directory
    return os.path.join(directory, path.removeprefix("./"))


NO_HOME = "^(?!~)"
"""For editors: what `_resolve` refuses."""

FilePath = Annotated[
    str, AfterValidator(_resolve), WithJsonSchema({"type": "string", "format": "path", "pattern": NO_HOME})
]
"""A path; absolute once the file has been read."""


def _resolve_program(program: str, info: ValidationInfo) -> str:
    return _resolve(program, info) if "/" in program else program


Program = Annotated[str, AfterValidator(_resolve_program), WithJsonSchema({"type": "string", "format": "program"})]
"""A path when it has a slash, else a name to be looked up in PATH."""


def _resolve_log(path: str, info: ValidationInfo) -> str:
    if not path or path.endswith("/"):
        raise ValueError('"-" (standard output), "off", or the path of a file')
    return path if path in {"-", "off"} else _resolve(path, info)


LogPath = Annotated[str, AfterValidator(_resolve_log), WithJsonSchema({"type": "string"})]


HOST_FIELD_PATTERN = r"^[A-Za-z0-9._:\[\]-]*$"
HOST_FIELD_ALLOWED = (
    "a host as it stands in a request, such as app.example.org, with a port or without; empty: that of the address"
)

HostName = Annotated[
    str,
    _matching(HOST_FIELD_PATTERN, HOST_FIELD_ALLOWED),
    WithJsonSchema({"type": "string", "pattern": HOST_FIELD_PATTERN}),
]
"""What stands in the field Host."""


ADDRESS_PATTERN = r"^unix:.+$|^([^:\s/*]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
"""For editors; `parse_address` knows better."""


def resolve_address(value: object, info: ValidationInfo) -> Address:
    """Parse an address; the path of a Unix socket is absolute afterwards.

    Raises:
        ValueError: it is none; it says what to write instead.
    """
    if isinstance(value, TcpAddress | UnixAddress):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        parse_address(str(value))  # refuses it, and says what is missing
    if not isinstance(value, str):
        raise ValueError(ADDRESS_ALLOWED)
    address = parse_address(value)
    if isinstance(address, UnixAddress):
        path = _resolve(address.path, info)
        if len(os.fsencode(path)) > MAX_PATH_BYTES:
            most = f"a path of at most {MAX_PATH_BYTES} bytes"
            raise ValueError(f"{most}; the kernel takes no longer one for a socket, as {path} is")
        return UnixAddress(path)
    return address


AddressField = Annotated[
    Address,
    PlainValidator(resolve_address),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "address", "pattern": ADDRESS_PATTERN}),
]


def at_least_one(addresses: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list of addresses."""
    if not addresses:
        raise ValueError(f'a list with at least one entry, {ADDRESS_ALLOWED}; write ["127.0.0.1:8000"]')
    return addresses


Addresses = Annotated[
    tuple[AddressField, ...],
    # Not `min_length`: pydantic counts an entry that is wrong as none, and would report it twice.
    AfterValidator(at_least_one),
    Field(json_schema_extra={"minItems": 1}),
]
"""One address or more."""

NETWORK_ALLOWED = 'a network such as "10.0.0.0/8", "192.0.2.7" or "2001:db8::/32"'


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError(NETWORK_ALLOWED)
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        meant = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(NETWORK_ALLOWED) from None
    raise ValueError(f'a network without bits set behind its prefix; write "{meant}"')


Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_parse_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "network"}),
]

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\.?|\[[0-9a-f:.]+\]", re.ASCII)
HOST_ALLOWED = 'a host name such as "example.org", or "*.example.org" for every name below it'


def _parse_host(text: str) -> str:
    host = text.lower()
    if not host.isascii():
        raise ValueError(f'{HOST_ALLOWED}; other letters are written in their "xn--" form{_ascii_form(host)}')
    bare = re.sub(r"^[a-z]+://", "", host).partition("/")[0]
    if not bare.startswith("["):
        bare = re.sub(r":[0-9]+$", "", bare)
    if bare != host and _HOST.fullmatch(bare):
        raise ValueError(f"{HOST_ALLOWED}; without scheme, port and path: write {written(bare)}")
    if host in ("*", "_", "any", ""):
        raise ValueError(f"{HOST_ALLOWED}; leave hosts out for any host")
    if _HOST.fullmatch(host) is None:
        raise ValueError(HOST_ALLOWED)
    return host.removesuffix(".")


def _ascii_form(host: str) -> str:
    """Give `: write "…"` where there is such a form."""
    try:
        form = host.encode("idna").decode("ascii")
    except (UnicodeError, LookupError):
        return ""
    return f": write {written(form)}" if _HOST.fullmatch(form) else ""


Host = Annotated[
    str,
    BeforeValidator(_text(_parse_host, HOST_ALLOWED)),
    WithJsonSchema({"type": "string", "format": "host", "pattern": "^[^/]+$"}),
]
"""Lower case, without a trailing dot."""

CERTIFICATE_NAME_ALLOWED = 'a host name such as "localhost" or "*.example.org", or an IP address'


def _parse_certificate_name(text: str) -> str:
    ip = ip_of(text)
    try:
        return _parse_host(text) if ip is None else str(ip)
    except ValueError:
        raise ValueError(CERTIFICATE_NAME_ALLOWED) from None


CertificateName = Annotated[
    str,
    BeforeValidator(_text(_parse_certificate_name, CERTIFICATE_NAME_ALLOWED)),
    WithJsonSchema({"type": "string", "format": "host"}),
]
"""What a certificate is made out to."""

URL_PATH_ALLOWED = 'a path that begins with "/", without query and fragment'


def _path_meant(value: object) -> str:
    """Give `; write "…"` for a path without its slash, or with scheme and host before it."""
    if not isinstance(value, str) or len(value) > 200 or re.search(r"[^ -~]", value):
        return ""
    path = re.sub(r"^[a-z]+://[^/]*|^[~=*^ ]+", "", value).partition("#")[0].partition("?")[0]
    path = path.lstrip("/").removesuffix("$").removesuffix("*").removesuffix(".")
    if re.search(r"[\\()|*$]", path):
        return "; it is no pattern: everything below a path matches"
    if " " in path:
        return ""
    why = " it is no pattern, and everything below it matches:" if re.search(r"^[~=*^]|[*$]$", value) else ""
    return f";{why} write {written('/' + path)}"


UrlPath = Annotated[
    str,
    _matching(r"/([^\x00-\x20\x7f#?]*[^\x00-\x20\x7f#?*])?", URL_PATH_ALLOWED, _path_meant),
    WithJsonSchema({"type": "string", "format": "url-path", "pattern": r"^/(.*[^*])?$"}),
]

PATH_PREFIX_ALLOWED = 'a path that begins and ends with "/", without query, escapes and .. in it'


def _prefix_meant(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[^\x00-\x20\x7f#?%*]{1,200}", value):
        return ""
    path = re.sub("//+", "/", f"/{value}/")
    return "" if set(path.split("/")) & {".", ".."} else f"; write {written(path)}"


PathPrefix = Annotated[
    str,
    _matching(r"/((?!\.{1,2}/)[^\x00-\x20\x7f#?%*/]+/)*", PATH_PREFIX_ALLOWED, _prefix_meant),
    WithJsonSchema({"type": "string", "format": "url-path", "pattern": r"^/(.*/)?$"}),
]
"""The beginning of a path, to the end of a segment."""


def _some_path(path: str) -> str:
    if not path:
        raise ValueError("a directory")
    return path


DirectoryPath = Annotated[FilePath, AfterValidator(_some_path)]
"""A path that is never empty; absolute once the file has been read."""

TARGET_ALLOWED = 'a path that begins with "/", with a query where needed'

Target = Annotated[
    str,
    _matching(r"/[!\"$-~]*", TARGET_ALLOWED, _path_meant),
    WithJsonSchema({"type": "string", "format": "url-path", "pattern": "^/"}),
]
"""What stands in a request line: ASCII, may have a query."""

APP_ALLOWED = 'a string "module:attribute" such as "shop.asgi:app"'


def _app_meant(value: object) -> str:
    """Give `; write "…"` for the path of a file, or a module without the name of the app in it."""
    if not isinstance(value, str) or len(value) > 200:
        return ""
    file, _, attribute = value.strip().partition(":")
    module = re.sub(r"\.py$", "", file).replace("/", ".").replace("\\", ".").replace("-", "_")
    module = module.strip(".") if not file.startswith(("/", "..")) else module.rpartition(".")[2]
    is_dotted = "." in module and not file.endswith(".py") and not attribute
    if is_dotted and module.rpartition(".")[2] in {"app", "application"}:
        module, _, attribute = module.rpartition(".")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", module):
        return ""
    # As frameworks name it in the files that they write.
    attribute = attribute or ("application" if module.rpartition(".")[2] in {"asgi", "wsgi"} else "app")
    return f'; write "{module}:{attribute}", if {attribute} is its name in there'


App = Annotated[
    str,
    _matching(r"|[A-Za-z_][\w.]*(?<!\.py):\S.*", APP_ALLOWED, _app_meant),
    WithJsonSchema({"type": "string", "pattern": r"^$|^[A-Za-z_][A-Za-z0-9_.]*:[^ ]"}),
]

INHERITED: Literal[""] = ""
"""What a key says that leaves something to the table above it."""


def _or_inherited(parse: Callable[[object], Any]) -> PlainValidator:
    return PlainValidator(lambda value: INHERITED if value == INHERITED else parse(value))


def _written_or_inherited(write: Callable[[Any], str]) -> PlainSerializer:
    return PlainSerializer(lambda value: INHERITED if value == INHERITED else write(value), return_type=str)


OwnDuration = Annotated[
    float | Literal[""],
    _or_inherited(_text(parse_duration, DURATION_ALLOWED, duration_meant)),
    _written_or_inherited(format_duration),
    WithJsonSchema({"type": "string", "format": "duration", "pattern": f"^$|{DURATION_PATTERN}"}),
]
"""Seconds, or `INHERITED`."""

OwnPeriod = Annotated[OwnDuration, _more_than_zero(DURATION_ALLOWED)]
"""Seconds, more than zero, or `INHERITED`."""

OwnSizeLimit = Annotated[
    int | Literal[""] | None,
    _or_inherited(_text(_parse_limit, SIZE_LIMIT_ALLOWED, _limit_meant)),
    _written_or_inherited(_write_limit),
    WithJsonSchema({"type": "string", "format": "size", "pattern": f"^$|{SIZE_PATTERN}|^{UNLIMITED}$"}),
]
"""Bytes, None where the file says "unlimited", or `INHERITED`."""

RateField = Annotated[
    RequestRate | None,
    PlainValidator(_text(lambda text: parse_rate(text) if text else None, RATE_ALLOWED, rate_meant)),
    PlainSerializer(lambda rate: "" if rate is None else str(rate), return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^$|{RATE_PATTERN}"}),
]
"""So many requests in a time, or None where the file says nothing."""

REDIRECT_ALLOWED = 'scheme and host to go to, such as "https://example.org", without a path'


def _origin_meant(value: object) -> str:
    """Give `; write "…"` for a URL with a path, or in large letters."""
    found = re.match(r"(https?://[a-z0-9_.-]+(?::[0-9]{1,5})?)(?![a-z0-9_.:-])", str(value)[:300].lower())
    return f"; path and query of the request are added: write {written(found[1])}" if found else ""


RedirectTarget = Annotated[
    str,
    _matching(r"|https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", REDIRECT_ALLOWED, _origin_meant),
    WithJsonSchema({"type": "string", "pattern": r"^$|^https?://[^/]+$"}),
]
"""Scheme and authority, or empty."""


def _check_tree_path(path: str) -> str:
    if "\0" in path:
        raise ValueError("a path without NUL bytes")
    if path.startswith("~"):
        raise ValueError("a path in full, from /, or from the directory of the release; only a shell knows ~")
    if ".." in path.split("/"):
        raise ValueError("a path without .., which would lead out of the release")
    return path


TreePath = Annotated[str, AfterValidator(_check_tree_path), WithJsonSchema({"type": "string", "format": "path"})]
"""A path that is relative to each release, or to a directory that another key names; never to the file."""
