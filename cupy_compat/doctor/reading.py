"""Search a text of any size for the patterns of the checks: a traceback, or the output of a job.

A pattern is a fixed text with placeholders: ``{name}`` matches one word, ``{/name}`` a word that
may contain slashes, ``{*}`` up to 200 characters of the same line, ``{$}`` the end of a word. The
search is linear: the longest fixed part of a pattern finds the few places where it can match, and
only `REACH` bytes around them are examined. The text is read in blocks, and only samples of it are
kept in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import BinaryIO

#: Bytes: the size of a block, and how much of the beginning and of the end of a part is kept.
BLOCK_SIZE, SAMPLE_SIZE = 1 << 20, 1 << 15
#: How many bytes around its fixed part a pattern can match.
REACH = 1200
#: The maximal number of occurrences of one fixed part that are examined per block.
_MAX_OCCURRENCES = 500
#: The same, once all patterns with that fixed part have matched.
_MAX_REPEATS = 10

#: The lines that begin a traceback, or link one to the next.
_MARKERS = {
    b"traceback (most recent call last)": "start",
    b"the above exception was the direct cause": "cause",
    b"during handling of the above exception": "handling",
}
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)?")
#: Quotation marks as compilers print them in UTF-8, and as HTML escapes them.
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
    # At the beginning of a line, after a prefix of pytest or a launcher, or indented by pip.
    r"^(?:\S{1,30} |E +|\[[^\]]{1,40}\]:? ?| {2,10}(?=[\w.]+: ))?"
    r"([\w.]{1,120}(?:Error|Exception|Exit|Interrupt)\b(?::.*)?)$"
)
_WARNING = re.compile(r"\b\w*Warning:|\bWARN(?:ING)?\b|\b(?:SKIPPED|XFAIL|PASSED)\b")


class Pattern:
    """A compiled pattern, see the module."""

    def __init__(self, wording: str) -> None:
        self.wording = wording
        pieces = re.split(r"\{([^}]*)\}", wording)
        # bytes.lower() changes only ASCII, here and in the text.
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
        """Search a short line."""
        return self._expression.search(line)


@cache
def pattern(wording: str) -> Pattern:
    """Return the compiled pattern; each is compiled once."""
    return Pattern(wording)


@dataclass(frozen=True)
class Match:
    """A line that matches a pattern, and the values of the pattern's placeholders."""

    line: str
    words: dict[str, str]

    @property
    def is_warning(self) -> bool:
        """Whether the line reports no failure, but a warning or a skipped test."""
        return bool(_WARNING.search(self.line))


@dataclass
class Part:
    """A traceback with the text after it, or the text before the first traceback.

    Attributes
    ----------
    link : {'start', 'cause', 'handling'}
        The relation to the previous part: none, its consequence, or raised while handling it.
    matches : dict
        The matching lines of each pattern, at most three.
    """

    link: str
    matches: dict[str, list[Match]] = field(default_factory=dict)
    _head: bytes = b""
    _tail: bytes = b""

    def add(self, raw: bytes) -> None:
        """Append text; only the beginning and the end are kept."""
        room = SAMPLE_SIZE - len(self._head)
        self._head += raw[:room]
        self._tail = (self._tail + raw[max(room, 0) :])[-SAMPLE_SIZE:]

    def is_relevant(self, topic: bytes) -> bool:
        """Return whether a pattern matches, or the text contains the topic."""
        return bool(self.matches) or topic in self._head.lower() or topic in self._tail.lower()

    @property
    def text(self) -> str:
        """The beginning and the end of the text."""
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


#: A chain of linked tracebacks, the first exception first.
Chain = list[Part]


@dataclass
class Reading:
    """The result of the search.

    Attributes
    ----------
    before : Part
        The text before the first traceback.
    chains : list of Chain
        The last chain of tracebacks, and the last one that is relevant.
    printed : dict
        The first matching line of each pattern, in the whole text.
    """

    before: Part
    chains: list[Chain]
    printed: dict[str, Match]

    @property
    def text(self) -> str:
        """The parts of the text that were kept. They may describe the machine."""
        parts = [self.before, *(part for chain in self.chains for part in chain)]
        return "\n".join(part.text for part in parts)


def read(file: BinaryIO, wordings: Iterable[str], topic: str = "cupy") -> Reading:
    """Search a text.

    Parameters
    ----------
    file : binary file
        The text, in UTF-8 or another encoding that extends ASCII, or in UTF-16 with a byte order
        mark.
    wordings : iterable of str
        The patterns.
    topic : str
        A word that makes a traceback relevant even if no pattern matches.
    """
    finder = _Finder(tuple(wordings))
    reading = Reading(Part("start"), [], {})
    current, link = reading.before, "start"
    word = topic.encode()
    for raw in _blocks(file):
        low = raw.lower()
        present = finder.present(low)
        at = 0
        for end, kind in [*_markers(low), (len(raw), "")]:
            current.add(raw[at:end])
            for anchor, patterns in present.items():
                # Check before calling: this is rarely true.
                if low.find(anchor, at, end) >= 0:
                    _match_anchor(raw, low, at, end, anchor, patterns, current, reading.printed)
            at = end
            if kind != "start":
                link = kind or link
                continue
            current = Part(link)
            chains = reading.chains
            if chains and link != "start":
                chains[-1].append(current)
                # A long chain is a recursion. Keep its beginning and its end.
                del chains[-1][8:-8]
            else:
                # Of the previous chains, keep the last relevant one.
                keep = chains and any(part.is_relevant(word) for part in chains[-1])
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
    """Finds the patterns that may match in a block.

    Many of the several hundred fixed parts share a substring (a stem). If a stem is missing, which
    is the usual case, none of its fixed parts needs to be searched.
    """

    def __init__(self, wordings: tuple[str, ...]) -> None:
        self._anchors: dict[bytes, list[Pattern]] = {}
        for wording in wordings:
            self._anchors.setdefault(pattern(wording).anchor, []).append(pattern(wording))
        self._stems: dict[bytes, set[bytes]] | None = None

    def present(self, low: bytes) -> dict[bytes, list[Pattern]]:
        """Return the patterns whose fixed part occurs in a lower-case text."""
        among: Iterable[bytes] = self._anchors
        if len(low) >= BLOCK_SIZE // 4:
            if self._stems is None:
                self._stems = _stems(set(self._anchors))
            among = [anchor for stem, each in self._stems.items() if stem in low for anchor in each]
        return {anchor: self._anchors[anchor] for anchor in among if anchor in low}


def _stems(anchors: set[bytes], length: int = 7) -> dict[bytes, set[bytes]]:
    """Return few stems that cover all anchors, each with its anchors (greedy set cover)."""
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


def _match_anchor(
    raw: bytes,
    low: bytes,
    start: int,
    end: int,
    anchor: bytes,
    patterns: list[Pattern],
    part: Part,
    printed: dict[str, Match],
) -> None:
    """Match the patterns with one fixed part between two positions of a block."""
    at, repeated = start, 0
    for _ in range(_MAX_OCCURRENCES):
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
                found = Match(line.strip(), match.groupdict())
                printed.setdefault(each.wording, found)
                lines = part.matches.setdefault(each.wording, [])
                if len(lines) < 3 and found not in lines:
                    lines.append(found)
        # Try a few more lines, because a check may reject this one and accept a later one.
        repeated += all(each.wording in part.matches for each in patterns)
        if repeated > _MAX_REPEATS:
            return


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a text in blocks that end at the end of a line, unless the line is too long."""
    first = file.read(BLOCK_SIZE)
    coding = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(first[:2])
    rest = b""
    block = first[2:] if coding else first
    while block:
        if coding:
            # An incomplete character at the end of a block affects no pattern.
            block = block.decode(coding, "replace").encode()
        block = rest + block
        cut = block.rfind(b"\n") + 1
        # Split a long line so that no match within REACH is lost.
        if not cut and len(block) > REACH:
            cut = len(block) - REACH
        yield _normalized(block[:cut])
        rest = block[cut:]
        block = file.read(BLOCK_SIZE)
    if rest:
        yield _normalized(rest)


def _normalized(block: bytes) -> bytes:
    """Remove control sequences of terminals, and normalize line ends and quotation marks."""
    if b"\x1b" in block:
        block = _ESCAPES.sub(b"", block)
    for quote, plain in _QUOTES.items():
        if quote in block:
            block = block.replace(quote, plain)
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return block
