"""Media types of files by the ends of their names: one table, whatever a machine has in /etc/mime.types."""

from __future__ import annotations

from typing import Final

_TEXT: Final = b"; charset=utf-8"

_TYPES: Final = {
    # Pages and what they load.
    b"html": b"text/html" + _TEXT,
    b"htm": b"text/html" + _TEXT,
    b"xhtml": b"application/xhtml+xml",
    b"css": b"text/css" + _TEXT,
    b"js": b"text/javascript" + _TEXT,
    b"mjs": b"text/javascript" + _TEXT,
    b"cjs": b"text/javascript" + _TEXT,
    b"json": b"application/json",
    b"map": b"application/json",
    b"webmanifest": b"application/manifest+json",
    b"jsonld": b"application/ld+json",
    b"geojson": b"application/geo+json",
    b"wasm": b"application/wasm",
    b"xml": b"text/xml" + _TEXT,
    b"xsl": b"text/xml" + _TEXT,
    b"rss": b"application/rss+xml",
    b"atom": b"application/atom+xml",
    # Text.
    b"txt": b"text/plain" + _TEXT,
    b"log": b"text/plain" + _TEXT,
    b"md": b"text/markdown" + _TEXT,
    b"csv": b"text/csv" + _TEXT,
    b"ics": b"text/calendar" + _TEXT,
    b"vcf": b"text/vcard" + _TEXT,
    b"vtt": b"text/vtt" + _TEXT,
    b"yaml": b"application/yaml",
    b"yml": b"application/yaml",
    b"toml": b"application/toml",
    # Images.
    b"svg": b"image/svg+xml",
    b"png": b"image/png",
    b"apng": b"image/apng",
    b"jpg": b"image/jpeg",
    b"jpeg": b"image/jpeg",
    b"gif": b"image/gif",
    b"webp": b"image/webp",
    b"avif": b"image/avif",
    b"heic": b"image/heic",
    b"jxl": b"image/jxl",
    b"ico": b"image/vnd.microsoft.icon",
    b"bmp": b"image/bmp",
    b"tif": b"image/tiff",
    b"tiff": b"image/tiff",
    # Fonts.
    b"woff2": b"font/woff2",
    b"woff": b"font/woff",
    b"ttf": b"font/ttf",
    b"otf": b"font/otf",
    b"eot": b"application/vnd.ms-fontobject",
    # Sound and film.
    b"mp3": b"audio/mpeg",
    b"m4a": b"audio/mp4",
    b"aac": b"audio/aac",
    b"flac": b"audio/flac",
    b"oga": b"audio/ogg",
    b"ogg": b"audio/ogg",
    b"opus": b"audio/ogg",
    b"wav": b"audio/wav",
    b"weba": b"audio/webm",
    b"mp4": b"video/mp4",
    b"m4v": b"video/mp4",
    b"webm": b"video/webm",
    b"ogv": b"video/ogg",
    b"mov": b"video/quicktime",
    b"m3u8": b"application/vnd.apple.mpegurl",
    b"ts": b"video/mp2t",
    # Documents.
    b"pdf": b"application/pdf",
    b"epub": b"application/epub+zip",
    b"rtf": b"application/rtf",
    b"doc": b"application/msword",
    b"docx": b"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"xls": b"application/vnd.ms-excel",
    b"xlsx": b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"ppt": b"application/vnd.ms-powerpoint",
    b"pptx": b"application/vnd.openxmlformats-officedocument.presentationml.presentation",
    b"odt": b"application/vnd.oasis.opendocument.text",
    b"ods": b"application/vnd.oasis.opendocument.spreadsheet",
    # Archives.
    b"zip": b"application/zip",
    b"gz": b"application/gzip",
    b"tgz": b"application/gzip",
    b"zst": b"application/zstd",
    b"bz2": b"application/x-bzip2",
    b"xz": b"application/x-xz",
    b"7z": b"application/x-7z-compressed",
    b"tar": b"application/x-tar",
    b"whl": b"application/zip",
    b"jar": b"application/java-archive",
}

_PRECOMPRESSED: Final = frozenset(
    b"html htm xhtml css js mjs cjs json map webmanifest jsonld geojson wasm xml xsl rss atom txt log md csv ics vcf "
    b"vtt yaml yml toml svg ico bmp ttf otf eot pdf rtf tar".split()
)
"""Ends of the names of files that are worth compressing, so that it is looked for their compressed siblings."""

_PAGES: Final = frozenset((b"html", b"htm", b"xhtml"))

DEFAULT: Final = b"application/octet-stream"


def _end_of(name: bytes) -> bytes:
    stem, dot, end = name.rpartition(b".")
    return end.lower() if dot and stem else b""


def media_type(name: bytes) -> bytes:
    """Content-Type of a file by its name; text is UTF-8."""
    return _TYPES.get(_end_of(name), DEFAULT)


def is_compressible(name: bytes) -> bool:
    """Whether a file of this name may have compressed siblings."""
    return _end_of(name) in _PRECOMPRESSED


def is_asset(name: bytes) -> bool:
    """Whether the name is one of a file that a page loads, and not of a page: its end is known to be one's."""
    end = _end_of(name)
    return end in _TYPES and end not in _PAGES
