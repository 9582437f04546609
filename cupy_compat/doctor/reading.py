"""Reading a text of any size for what the checks look for: a traceback, a job's or pip's output.

A pattern is fixed text with places that hold a short piece: ``{name}`` for one word, ``{/name}``
for one that may hold slashes, ``{*}`` for up to 200 characters of the same line, ``{$}`` for the
end of a word. So every pattern is linear: its longest fixed piece finds the few places where it can
match, and it looks no further than `REACH` bytes around them. A text is read in pieces, and only
samples of it are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import BinaryIO

#: How much of a text is read at once, and how much of its parts is kept, in bytes.
PIECE, KEPT = 1 << 20, 1 << 15
#: How far around its fixed piece a pattern looks.
REACH = 1200
#: How often one fixed piece is looked at within a piece of the text.
_TRIES = 500
#: How often it is looked at again after all its patterns were found.
_REPEATS = 10

#: What begins a traceback, and what joins one to the next.
_MARKERS = {
    b"traceback (most recent call last)": "start",
    b"the above exception was the direct cause": "cause",
    b"during handling of the above exception": "handling",
}
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?")
#: Quotation marks as compilers print them in UTF-8, and as web pages escape them.
_QUOTES = {
    "\u2018".encode(): b"'",
    "\u2019".encode(): b"'",
    "\u201c".encode(): b'"',
    "\u201d".encode(): b'"',
    b"&#39;": b"'",
    b"&#x27;": b"'",
    b"&quot;": b'"',
}
_EXCEPTION = re.compile(
    # At the beginning of a line, after what pytest or a launcher puts there, or as pip indents it.
    r"^(?:\S{1,30} |E +|\[[^\]]{1,40}\]:? ?| {2,10}(?=[\w.]+: ))?"
    r"([\w.]{1,120}(?:Error|Exception|Exit|Interrupt)\b(?::.*)?)$"
)
_WARNING = re.compile(r"\b\w*Warning:|\bWARN(?:ING)?\b|\b(?:SKIPPED|XFAIL|PASSED)\b")


class Pattern:
    """One wording, see the module."""

    def __init__(self, wording: str) -> None:
        self.wording = wording
        pieces = re.split(r"\{([^}]*)\}", wording)
        # Of bytes, `lower` changes ASCII alone, as it does in the text.
        self.anchor = max(pieces[::2], key=len).encode().lower()
        expression = [re.escape(pieces[0])]
        for place, fixed in zip(pieces[1::2], pieces[2::2]):
            if place == "$":
                expression.append(r"(?![\w.])")
            elif place == "*":
                expression.append(r".{0,200}?")
            else:
                letters = r"[\w.+@/=<>~!,*\[\]-]" if place.startswith("/") else r"[\w.+@-]"
                expression.append(rf"(?P<{place.lstrip('/')}>{letters}{{1,120}})")
            expression.append(re.escape(fixed))
        self._expression = re.compile("".join(expression), re.IGNORECASE)

    def search(self, line: str) -> re.Match[str] | None:
        """Return where it matches in a line, which must be short."""
        return self._expression.search(line)


@cache
def pattern(wording: str) -> Pattern:
    """Return the pattern of a wording."""
    return Pattern(wording)


@dataclass(frozen=True)
class Said:
    """A line in which a wording was found, and what stood in its places."""

    line: str
    words: dict[str, str]

    @property
    def warned(self) -> bool:
        """Whether the line itself says that nothing failed: a warning, a skipped test."""
        return bool(_WARNING.search(self.line))


@dataclass
class Part:
    """A traceback with what follows it, or what precedes the first.

    Attributes
    ----------
    link : {'start', 'cause', 'handling'}
        How it hangs together with the part before it.
    said : dict
        For each wording the lines in which it was found, three at most.
    """

    link: str
    said: dict[str, list[Said]] = field(default_factory=dict)
    _head: bytes = b""
    _tail: bytes = b""

    def add(self, raw: bytes) -> None:
        """Keep the beginning and the end of what belongs to it."""
        room = KEPT - len(self._head)
        self._head += raw[:room]
        self._tail = (self._tail + raw[max(room, 0) :])[-KEPT:]

    def matters(self, topic: bytes) -> bool:
        """Whether something was found in it, or it is about that topic."""
        return bool(self.said) or topic in self._head.lower() or topic in self._tail.lower()

    @property
    def text(self) -> str:
        """Its beginning and its end."""
        return (self._head + self._tail).decode("utf-8", "replace")

    @property
    def exception(self) -> str | None:
        """The last line that reports an exception."""
        found = None
        for line in self.text.splitlines()[1:]:
            match = _EXCEPTION.match(line.rstrip()[:2000]) if len(line) < 4000 else None
            if match:
                found = match.group(1)
        return found


#: A chain of tracebacks that belong together, the first exception first.
Chain = list[Part]


@dataclass
class Reading:
    """What was found in a text.

    Attributes
    ----------
    before : Part
        What precedes the first traceback.
    chains : list of Chain
        The chains of tracebacks that are kept: the last one, and the last that says something.
    printed : dict
        For each wording the first line in all the text, whichever part it belongs to.
    """

    before: Part
    chains: list[Chain]
    printed: dict[str, Said]

    @property
    def text(self) -> str:
        """What was kept of the text, which may describe its machine."""
        parts = [self.before, *(part for chain in self.chains for part in chain)]
        return "\n".join(part.text for part in parts)


def read(file: BinaryIO, wordings: Iterable[str], topic: str = "cupy") -> Reading:
    """Read a text to its end.

    Parameters
    ----------
    file : binary file
        The text, in UTF-8 or another encoding that extends ASCII, or in UTF-16 with its mark.
    wordings : iterable of str
        What to look for.
    topic : str
        A word that makes a traceback worth keeping even if nothing was found in it.
    """
    finder = _Finder(tuple(wordings))
    reading = Reading(Part("start"), [], {})
    current, link = reading.before, "start"
    word = topic.encode()
    for raw in _pieces(file):
        low = raw.lower()
        present = finder.present(low)
        at = 0
        for end, kind in [*_markers(low), (len(raw), "")]:
            current.add(raw[at:end])
            for anchor, patterns in present.items():
                # Nearly always not, and a call for each would take longer than the search.
                if low.find(anchor, at, end) >= 0:
                    _look(raw, low, at, end, anchor, patterns, current, reading.printed)
            at = end
            if kind != "start":
                link = kind or link
                continue
            current = Part(link)
            chains = reading.chains
            if chains and link != "start":
                chains[-1].append(current)
                # A chain of many is a recursion; its beginning and its end are enough.
                del chains[-1][8:-8]
            else:
                # Of the chains before, the last one that matters is kept.
                keep = chains and any(part.matters(word) for part in chains[-1])
                chains[:] = chains[-1:] if keep else chains[:-1]
                chains.append([current])
            link = "start"
    return reading


def _markers(low: bytes) -> list[tuple[int, str]]:
    found = []
    for marker, kind in _MARKERS.items():
        at = low.find(marker)
        while at >= 0:
            found.append((at, kind))
            at = low.find(marker, at + 1)
    return sorted(found)


class _Finder:
    """Which patterns a piece of text may hold.

    Several hundred fixed pieces are sought, most of which share some of their letters: where those
    stems are missing, which is nearly everywhere, the pieces need not be sought.
    """

    def __init__(self, wordings: tuple[str, ...]) -> None:
        self._anchors: dict[bytes, list[Pattern]] = {}
        for wording in wordings:
            self._anchors.setdefault(pattern(wording).anchor, []).append(pattern(wording))
        self._stems: dict[bytes, set[bytes]] | None = None

    def present(self, low: bytes) -> dict[bytes, list[Pattern]]:
        """Return the patterns whose fixed piece is in a text in small letters."""
        among: Iterable[bytes] = self._anchors
        if len(low) >= PIECE // 4:
            if self._stems is None:
                self._stems = _stems(set(self._anchors))
            among = [anchor for stem, each in self._stems.items() if stem in low for anchor in each]
        return {anchor: self._anchors[anchor] for anchor in among if anchor in low}


def _stems(anchors: set[bytes], length: int = 7) -> dict[bytes, set[bytes]]:
    """Return few stems that all anchors contain, each with its anchors: the greedy cover."""
    holders: dict[bytes, set[bytes]] = {}
    for anchor in anchors:
        for at in range(max(1, len(anchor) - length + 1)):
            holders.setdefault(anchor[at : at + length], set()).add(anchor)
    chosen = {}
    while anchors:
        stem = max(holders, key=lambda each: len(holders[each] & anchors))
        chosen[stem] = holders[stem] & anchors
        anchors = anchors - holders[stem]
    return chosen


def _look(
    raw: bytes,
    low: bytes,
    start: int,
    end: int,
    anchor: bytes,
    patterns: list[Pattern],
    part: Part,
    printed: dict[str, Said],
) -> None:
    """Look for patterns of one fixed piece between two places of a piece of text."""
    at, repeated = start, 0
    for _ in range(_TRIES):
        at = low.find(anchor, at, end)
        if at < 0:
            return
        left = max(raw.rfind(b"\n", start, at) + 1, start, at - REACH)
        right = raw.find(b"\n", at, min(end, at + REACH))
        line = raw[left : right if right >= 0 else min(end, at + REACH)].decode("utf-8", "replace")
        at += len(anchor)
        for each in patterns:
            match = each.search(line)
            if match:
                found = Said(line.strip(), match.groupdict())
                printed.setdefault(each.wording, found)
                lines = part.said.setdefault(each.wording, [])
                if len(lines) < 3 and found not in lines:
                    lines.append(found)
        # A few more may be worded so that they count where the first does not.
        repeated += all(each.wording in part.said for each in patterns)
        if repeated > _REPEATS:
            return


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield a text in pieces that end with a line where lines are not too long for that."""
    first = file.read(PIECE)
    coding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(first[:2])
    rest = b""
    block = first[2:] if coding else first
    while block:
        if coding:
            # Half a character more or less matters to nothing that is looked for.
            block = block.decode(coding, "replace").encode()
        block = rest + block
        cut = block.rfind(b"\n") + 1
        # A long line is cut where no pattern that fits into REACH is lost.
        if not cut and len(block) > REACH:
            cut = len(block) - REACH
        yield _plain(block[:cut])
        rest = block[cut:]
        block = file.read(PIECE)
    if rest:
        yield _plain(rest)


def _plain(block: bytes) -> bytes:
    """Remove what terminals are sent besides text; end lines and quote in one way."""
    if b"\x1b" in block:
        block = _ESCAPES.sub(b"", block)
    for quote, plain in _QUOTES.items():
        if quote in block:
            block = block.replace(quote, plain)
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return block
