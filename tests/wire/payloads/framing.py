"""F1 to F14: where a message begins and ends, when somebody would like two parsers to disagree about it."""

from __future__ import annotations

from typing import Final

from tests.wire.payloads.case import Refused, post, request

CHUNKED: Final = b"Transfer-Encoding: chunked"
HELLO: Final = b"5\r\nhello\r\n0\r\n\r\n"


def _lengths() -> list[Refused]:
    """F1 to F3: more than one length, or a length that is not digits alone."""
    cases = [
        Refused(row="F1 length, then chunked", raw=post(b"Content-Length: 5", CHUNKED, body=HELLO)),
        Refused(row="F1 chunked, then length", raw=post(CHUNKED, b"Content-Length: 15", body=HELLO)),
        Refused(row="F1 length zero with chunked", raw=post(b"Content-Length: 0", CHUNKED, body=HELLO)),
        Refused(row="F1 on a GET", raw=request(b"Content-Length: 5", CHUNKED, body=HELLO)),
        Refused(row="F2 twice, equal", raw=post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello")),
        Refused(row="F2 twice, different", raw=post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!")),
        Refused(row="F2 twice, apart", raw=post(b"Content-Length: 0", b"X: y", b"content-length: 5", body=b"hello")),
        Refused(row="F2 three times", raw=post(*[b"Content-Length: 5"] * 3, body=b"hello")),
    ]
    values = {
        "F2 list, equal": b"5, 5",
        "F2 list without space": b"5,5",
        "F2 list, different": b"5, 6",
        "F2 list with an empty member": b"5,",
        "F2 list that begins empty": b", 5",
        "F3 plus": b"+5",
        "F3 minus": b"-5",
        "F3 minus zero": b"-0",
        "F3 hexadecimal": b"0x5",
        "F3 underscore": b"1_0",
        "F3 space inside": b"1 0",
        "F3 tab inside": b"1\t0",
        "F3 19 digits": b"0000000000000000005",
        "F3 beyond 64 bits": b"18446744073709551621",
        "F3 beyond 63 bits": b"9223372036854775808",
        "F3 500 digits": b"0" * 499 + b"5",
        "F3 empty": b"",
        "F3 fraction": b"5.0",
        "F3 exponent": b"5e0",
        "F3 letters": b"five",
        "F3 quoted": b'"5"',
        "F3 semicolon": b"5;",
        "F3 fullwidth digit": "５".encode(),
        "F3 superscript digit": b"\xb2",
        "F3 trailing vertical tab": b"5\x0b",
        "F3 trailing form feed": b"5\x0c",
        "F3 no-break space": b"\xa05",
    }
    for row, value in values.items():
        cases.append(Refused(row=row, raw=post(b"Content-Length: " + value, body=b"hello")))
    return cases


def _codings() -> list[Refused]:
    """F4 to F6: `Transfer-Encoding` is exactly one `chunked`, spelled as the grammar spells it."""
    unknown = (501,)
    either = (400, 501)
    values: dict[str, tuple[bytes, tuple[int, ...]]] = {
        "F4 gzip": (b"gzip", unknown),
        "F4 identity": (b"identity", unknown),
        "F4 a made-up coding": (b"xchunked", unknown),
        "F4 gzip, chunked": (b"gzip, chunked", unknown),
        "F4 identity, chunked": (b"identity, chunked", unknown),
        "F4 chunked, gzip": (b"chunked, gzip", either),
        "F4 chunked, identity": (b"chunked, identity", either),
        "F4 chunked, chunked": (b"chunked, chunked", (400,)),
        "F4 chunked,chunked": (b"chunked,chunked", (400,)),
        "F4 empty": (b"", (400,)),
        "F4 a list that begins empty": (b", chunked", (400,)),
        "F4 a list that ends empty": (b"chunked,", (400,)),
        "F4 with a parameter": (b"chunked;q=1", either),
        "F4 chunked and a word": (b"chunked x", (400,)),
        "F6 quoted": (b'"chunked"', (400,)),
        "F6 single quotes": (b"'chunked'", either),
        "F6 leading vertical tab": (b"\x0bchunked", (400,)),
        "F6 trailing vertical tab": (b"chunked\x0b", (400,)),
        "F6 trailing form feed": (b"chunked\x0c", (400,)),
        "F6 next-line control": (b"\x85chunked", (400,)),
        "F6 no-break space": (b"\xa0chunked", (400,)),
        "F6 trailing no-break space": (b"chunked\xa0", (400,)),
        "F6 trailing NUL": (b"chunked\x00", (400,)),
        "F6 trailing CR": (b"chunked\r", (400,)),
        "F6 inner CR": (b"chun\rked", (400,)),
        "F6 fullwidth letter": ("ｃhunked".encode(), (400,)),
        "F6 Kelvin sign": ("chun\u212aed".encode(), (400,)),
    }
    cases = [
        Refused(row=row, raw=post(b"Transfer-Encoding: " + value, body=HELLO), statuses=statuses)
        for row, (value, statuses) in values.items()
    ]
    cases += [
        Refused(row="F4 two fields", raw=post(CHUNKED, CHUNKED, body=HELLO)),
        Refused(row="F4 gzip and chunked", raw=post(b"Transfer-Encoding: gzip", CHUNKED, body=HELLO), statuses=either),
        Refused(row="F4 chunked and gzip", raw=post(CHUNKED, b"Transfer-Encoding: gzip", body=HELLO), statuses=either),
        Refused(
            row="F4 chunked and identity",
            raw=post(CHUNKED, b"Transfer-Encoding: identity", body=HELLO),
            statuses=either,
        ),
        Refused(
            row="F4 unknown with a length",
            raw=post(b"Transfer-Encoding: gzip", b"Content-Length: 5", body=b"hello"),
            statuses=either,
        ),
        Refused(row="F5 in HTTP/1.0", raw=request(CHUNKED, start=b"POST / HTTP/1.0", body=HELLO)),
        Refused(
            row="F5 in HTTP/1.0 with keep-alive",
            raw=request(CHUNKED, b"Connection: keep-alive", start=b"POST / HTTP/1.0", body=HELLO),
        ),
        Refused(row="F6 space before the colon", raw=post(b"Transfer-Encoding : chunked", body=HELLO)),
        Refused(row="F6 tab before the colon", raw=post(b"Transfer-Encoding\t: chunked", body=HELLO)),
        Refused(row="F6 vertical tab before the colon", raw=post(b"Transfer-Encoding\x0b: chunked", body=HELLO)),
        Refused(row="F6 space in the name", raw=post(b"Transfer Encoding: chunked", body=HELLO)),
        Refused(row="F6 NUL in the name", raw=post(b"Transfer\x00-Encoding: chunked", body=HELLO)),
        Refused(row="F6 leading space", raw=post(b"X: y", b" Transfer-Encoding: chunked", body=HELLO)),
        Refused(row="F6 folded value", raw=post(b"Transfer-Encoding:", b" chunked", body=HELLO)),
        Refused(row="F6 folded into another field", raw=post(b"X: y", b"\tTransfer-Encoding: chunked", body=HELLO)),
        Refused(row="F6 behind a bare LF", raw=post(b"X: y\nTransfer-Encoding: chunked", body=HELLO)),
        Refused(row="F6 behind a bare CR", raw=post(b"X: y\rTransfer-Encoding: chunked", body=HELLO)),
    ]
    return cases


def _chunks() -> list[Refused]:
    """F7 to F9: sizes that are not hexadecimal digits alone, line ends that are not CRLF, extensions without end."""
    bodies = {
        "F7 plus": b"+5\r\nhello\r\n0\r\n\r\n",
        "F7 minus": b"-5\r\nhello\r\n0\r\n\r\n",
        "F7 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
        "F7 underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
        "F7 leading space": b" 5\r\nhello\r\n0\r\n\r\n",
        "F7 leading tab": b"\t5\r\nhello\r\n0\r\n\r\n",
        "F7 space inside": b"1 0\r\nhello\r\n0\r\n\r\n",
        "F7 17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
        "F7 beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        "F7 no digit": b"\r\nhello\r\n0\r\n\r\n",
        "F7 not a digit": b"g\r\nhello\r\n0\r\n\r\n",
        "F7 fullwidth digit": "５\r\nhello\r\n0\r\n\r\n".encode(),
        "F7 comma": b"5,5\r\nhello\r\n0\r\n\r\n",
        "F7 NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
        "F7 quoted": b'"5"\r\nhello\r\n0\r\n\r\n',
        "F7 later chunk": b"5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n",
        "F7 last chunk signed": b"5\r\nhello\r\n-0\r\n\r\n",
        "F8 line beyond 4 KiB": b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        "F8 last line beyond 4 KiB": b"5\r\nhello\r\n0;a=" + b"b" * 5000 + b"\r\n\r\n",
        "F8 more framing than body": (b"1;" + b"a" * 2000 + b"\r\nx\r\n") * 100 + b"0\r\n\r\n",
        "F8 control byte": b"5;a=\x01\r\nhello\r\n0\r\n\r\n",
        "F8 NUL": b"5;a=\x00\r\nhello\r\n0\r\n\r\n",
        "F9 LF after the size": b"5\nhello\r\n0\r\n\r\n",
        "F9 CR after the size": b"5\rhello\r\n0\r\n\r\n",
        "F9 CR CR after the size": b"5\r\r\nhello\r\n0\r\n\r\n",
        "F9 LF after the data": b"5\r\nhello\n0\r\n\r\n",
        "F9 CR after the data": b"5\r\nhello\r0\r\n\r\n",
        "F9 nothing after the data": b"5\r\nhello0\r\n\r\n",
        "F9 data too long": b"5\r\nhello!\r\n0\r\n\r\n",
        "F9 data too short": b"6\r\nhello\r\n0\r\n\r\n",
        "F9 LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        "F9 CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        "F9 LF after an extension": b"5;a\nhello\r\n0\r\n\r\n",
        "F9 LF after the last chunk": b"5\r\nhello\r\n0\n\r\n",
        "F9 LF at the end": b"5\r\nhello\r\n0\r\n\n",
        "F9 CR at the end": b"5\r\nhello\r\n0\r\n\rX\r\n\r\n",
        "F15 trailer without a colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
        "F15 trailer with a space before the colon": b"5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "F15 trailer with a bare LF": b"5\r\nhello\r\n0\r\nX: y\n\r\n",
        "F15 trailer with NUL": b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n",
        "F15 folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        "F15 trailer of spaces and a control byte": b"0\r\nX:" + b" " * 4000 + b"\x01\r\n\r\n",
        "F15 101 trailers": b"5\r\nhello\r\n0\r\n" + b"X:\r\n" * 101 + b"\r\n",
        "F15 trailers beyond 16 KiB": b"400\r\n%b\r\n0\r\n" % (b"x" * 1024) + b"X:%b\r\n" % (b"y" * 1998) * 9 + b"\r\n",
        "F15 trailers without end": b"5\r\nhello\r\n0\r\n" + b"X: %b\r\n" % (b"y" * 1000) * 200 + b"\r\n",
    }
    return [Refused(row=row, raw=post(CHUNKED, body=body), in_body=True) for row, body in bodies.items()]


def _lines() -> list[Refused]:
    """F10 to F14: lines of the head."""
    return [
        Refused(row="F10 every line end", raw=b"GET / HTTP/1.1\nHost: example.org\n\n"),
        Refused(row="F10 request line", raw=b"GET / HTTP/1.1\nHost: example.org\r\n\r\n"),
        Refused(row="F10 field", raw=request(b"X: y\nZ: w")),
        Refused(row="F10 last field", raw=b"GET / HTTP/1.1\r\nHost: example.org\n\r\n"),
        Refused(row="F10 empty line", raw=b"GET / HTTP/1.1\r\nHost: example.org\r\n\n"),
        Refused(row="F11 CR in a value", raw=request(b"X: a\rb")),
        Refused(row="F11 CR before CRLF", raw=request(b"X: a\r")),
        Refused(row="F11 CR in a name", raw=request(b"X\rY: a")),
        Refused(row="F11 CR as a line", raw=request(b"\r")),
        Refused(row="F11 CR in the request line", raw=request(start=b"GET /\r HTTP/1.1")),
        Refused(row="F11 CR after the version", raw=request(start=b"GET / HTTP/1.1\r")),
        Refused(row="F11 NUL in a value", raw=request(b"X: a\x00b")),
        Refused(row="F11 NUL in a name", raw=request(b"X\x00: a")),
        Refused(row="F11 NUL in the target", raw=request(start=b"GET /\x00 HTTP/1.1")),
        Refused(row="F11 NUL in the host", raw=request(host=b"example.org\x00.net")),
        Refused(row="F11 NUL in the method", raw=request(start=b"GE\x00T / HTTP/1.1"), statuses=(400, 501)),
        Refused(row="F11 other control bytes in a value", raw=request(b"X: a\x01b")),
        Refused(row="F11 escape in a value", raw=request(b"X: \x1b[31m")),
        Refused(row="F11 DEL in a value", raw=request(b"X: a\x7fb")),
        Refused(row="F12 folded with a space", raw=request(b"X: a", b" b")),
        Refused(row="F12 folded with a tab", raw=request(b"X: a", b"\tb")),
        Refused(row="F12 folded Host", raw=b"GET / HTTP/1.1\r\nHost:\r\n example.org\r\n\r\n"),
        Refused(row="F12 a line of one space", raw=request(b"X: a", b" ")),
        Refused(row="F13 space before the colon", raw=request(b"X : a")),
        Refused(row="F13 tab before the colon", raw=request(b"X\t: a")),
        Refused(row="F13 space before the colon of Host", raw=request(b"Host : example.org", host=None)),
        Refused(row="F13 empty name", raw=request(b": a")),
        Refused(row="F13 no colon", raw=request(b"X")),
        Refused(row="F13 no colon, last", raw=request(b"X: y", b"junk")),
        Refused(row="F13 space in the name", raw=request(b"X Y: a")),
        *(
            Refused(row=f"F13 {character} in the name", raw=request(b"X%bY: a" % character.encode()))
            for character in '()<>@,;\\"/[]?={}é'
        ),
        Refused(row="F14 a line of one space", raw=b"GET / HTTP/1.1\r\n \r\nHost: example.org\r\n\r\n"),
        Refused(row="F14 indented first field", raw=b"GET / HTTP/1.1\r\n Host: example.org\r\n\r\n"),
        Refused(row="F14 first field after a tab", raw=b"GET / HTTP/1.1\r\n\tX: y\r\nHost: example.org\r\n\r\n"),
    ]


CASES: Final = (*_lengths(), *_codings(), *_chunks(), *_lines())
