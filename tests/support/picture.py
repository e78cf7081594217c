"""A page as a picture that git can hold: its live DOM and the rules that apply to it, as one SVG.

The text stays text, so a change of a page is a readable diff. Nothing in it is run or loaded, and
what is secret (the session's token) is left out.
"""

from pathlib import Path
from xml.etree import ElementTree as ET

from playwright.async_api import Page

SVG = "{http://www.w3.org/2000/svg}"
XHTML = "{http://www.w3.org/1999/xhtml}"

# A repository is read on slow lines, too.
LIMIT = 150_000

_TAKE = (Path(__file__).with_name("picture.js")).read_text()


async def picture(page: Page) -> str:
    """The page as it stands, at the width of its window and in its colours, as SVG's text."""
    text: str = await page.evaluate(_TAKE)
    return text


def faults(text: str) -> list[str]:
    """Why a picture could not stand in a README: not XML, too large, or it runs or loads something.

    An empty list: it may.
    """
    found: list[str] = []
    if len(text.encode()) > LIMIT:
        found.append(f"{len(text.encode()):,} bytes, over {LIMIT:,}")
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        return [*found, f"no XML: {error}"]
    if root.tag != f"{SVG}svg" or root.find(f"{SVG}foreignObject/{XHTML}body") is None:
        found.append("no page in an SVG")
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        if name in ("script", "link", "iframe", "img", "image", "object", "embed"):
            found.append(f"<{name}>")
        kind = element.get("type") if name == "input" else None
        if kind == "hidden" or (kind == "password" and element.get("value")):
            found.append(f"a {kind} field, which may hold a secret")
        for attribute, value in element.attrib.items():
            local = attribute.rpartition("}")[2]
            if local.startswith("on") or (local in ("href", "src") and not value.startswith("#")):
                found.append(f"{name} {local}={value}")
        if name == "style" and any(word in (element.text or "") for word in ("url(", "@import")):
            found.append("a style that loads something")
    return found
