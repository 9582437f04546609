"""Check a built site for broken internal links, and for resources loaded from other sites.

Sphinx checks references while it builds. This checks the result, including menus and pictures, as a
browser without a network would show it.

Usage::

    python tools/check_site.py docs/_build/html
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: The attributes by which a page loads something. Other links may lead to another site.
LOADS = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """The anchors of a page, and its links."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        #: Each link, and whether it is loaded with the page.
        self.links: set[tuple[str, bool]] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the anchors and links of a tag."""
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif value and ((tag, name) in LOADS or (tag, name) == ("a", "href")):
                self.links.add((value, (tag, name) in LOADS))


def faults(site: Path) -> list[str]:
    """Return the faults of a site, one line each."""
    # The theme keeps templates below _static.
    files = [file for file in sorted(site.rglob("*.html")) if "_static" not in file.parts]
    pages = {file: Page(file) for file in files}
    found = []
    for file, page in pages.items():
        for link, loaded in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if loaded and parts.scheme != "data":
                    found.append(f"{file}: loads {link}")
                continue
            if parts.path.startswith("asv/"):  # airspeed velocity's, which are made afterwards
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                found.append(f"{file}: {link} leads nowhere")
                continue
            anchors = pages[target].anchors if target in pages else set()
            if parts.fragment and anchors and unquote(parts.fragment) not in anchors:
                found.append(f"{file}: {link} names no place of that page")
    return found if pages else [f"{site}: no page is there"]


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]).resolve())
    print("\n".join(lines) or "every link leads somewhere, and nothing is loaded from elsewhere")
    sys.exit(bool(lines))
