"""The `Content-Type` of object bytes: AIS 5.0 calls all of them octets, AIS 3.17 looks at them.

The rules of looking are those of the WHATWG's "MIME Sniffing", which Go's HTTP server applies to
a reply that names no type: the first 512 bytes, the first signature that fits.
"""

from typing import Final

SNIFFED: Final = 512
"""Bytes that are looked at."""

OCTETS: Final = "application/octet-stream"
TEXT: Final = "text/plain; charset=utf-8"

_BLANKS = b"\t\n\x0c\r "
_MARKUP = (
    b"<!DOCTYPE HTML", b"<HTML", b"<HEAD", b"<SCRIPT", b"<IFRAME", b"<H1", b"<DIV", b"<FONT",
    b"<TABLE", b"<A", b"<STYLE", b"<TITLE", b"<B", b"<BODY", b"<BR", b"<P", b"<!--",
)  # fmt: skip
_SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xfe\xff", "text/plain; charset=utf-16be"),
    (b"\xff\xfe", "text/plain; charset=utf-16le"),
    (b"\xef\xbb\xbf", TEXT),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x00\x01\x00\x00", "font/ttf"),
    (b"OTTO", "font/otf"),
    (b"ttcf", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1a\x07\x00", "application/x-rar-compressed"),
    (b"Rar!\x1a\x07\x01\x00", "application/x-rar-compressed"),
    (b"\x00asm", "application/wasm"),
)
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/avi", b"WAVE": "audio/wave"}
_BINARY = frozenset((*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)))


def sniff(data: bytes) -> str:
    """Return the type that the first bytes tell, empty for no bytes."""
    if not data:
        return ""
    head = data[:SNIFFED]
    text = head.lstrip(_BLANKS)
    if any(_is_markup(text, tag) for tag in _MARKUP):
        return "text/html; charset=utf-8"
    if text.startswith(b"<?xml"):
        return "text/xml; charset=utf-8"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    return OCTETS if _BINARY.intersection(head) else TEXT


def _is_markup(text: bytes, tag: bytes) -> bool:
    """Tell whether a text begins with a tag that ends there."""
    ended = text[len(tag) : len(tag) + 1] in {b" ", b">"}
    return ended and text[: len(tag)].upper() == tag
