"""Untrusted text, made safe to show on a page or in a terminal."""

from typing import Any


def escape_control_characters(text: Any, keep: str = "") -> str:
    """Untrusted text with invisible characters escaped: controls and marks of direction.

    Escaping HTML is left to the template; `keep` lists characters left as they are.
    """
    return "".join(c if c.isprintable() or c in keep else _spelled(c) for c in str(text))


def _spelled(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
