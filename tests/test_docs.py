"""Run the Python of the README and of the pages, and look up the names that they mention.

Each block marked ``python`` runs in a fresh interpreter with a broken CuPy, or in this one if it
needs the extra ``cudamark``. If a block marked ``text`` follows, the program has to print it, with
``...`` for what differs between machines. A comment above a block changes that: ``<!-- gpu -->``
if it needs a GPU, or ``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import doctest
import importlib.metadata
import itertools
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from conftest import Interpreter, arming
from markdown_it import MarkdownIt
from markdown_it.token import Token

from cupy_compat.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
#: A command of this package in a block of shell, up to the end of the line.
COMMAND = re.compile(r"^\s*(?:\$ )?(?:python -m cupy_compat|cupy-compat) +([^#|>\n]+)", re.M)
SESSION = re.compile(r"\bnox -s ([a-z]+(?:-[a-z]+)*)")
#: A file in a folder of the repository or of the package.
FILE = re.compile(r"`(\w+/[\w/]+\.(?:py|cu|toml|json))`")
EXTRA = re.compile(r"cupy-compat\[([\w,]+)\]")


@dataclass(frozen=True)
class Block:
    """A block of Python in a page."""

    page: Path
    line: int
    code: str
    comment: str
    prints: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def tokens_of(page: Path) -> list[Token]:
    """Return the page as CommonMark reads it."""
    return MarkdownIt().parse(page.read_text())


def blocks_of(page: Path) -> list[Block]:
    """Return the Python of a page, each block with its comment and its output."""
    found = []
    tokens = tokens_of(page)
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.type == "fence" and token.info == "python":
            assert token.map is not None
            comment = before.content if before is not None and before.type == "html_block" else ""
            has_output = after is not None and after.type == "fence" and after.info == "text"
            prints = after.content if after is not None and has_output else None
            found.append(Block(page, token.map[0] + 1, token.content, comment, prints))
    return found


def anchors_of(page: Path) -> set[str]:
    """Return what a link may point to: headings, as GitHub names them, and labels."""
    text = page.read_text()
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {*plain, *re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE)}


def help_of(command: str) -> str:
    """Return what the command's ``--help`` prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cupy_compat", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


FENCES = [token for page in PAGES for token in tokens_of(page) if token.type == "fence"]
#: Commands with their output.
SHOWN = [
    fence.content
    for fence in FENCES
    if fence.info == "text" and fence.content.startswith("$ cupy-compat ")
]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
# Some run in a session of their own, see tests/engines.py and tests/real_contenders.py.
RUN = [block for block in BLOCKS if not re.search(r"not run:|engines:|with:", block.comment)]


def matches(expected: str, printed: str) -> bool:
    """Return whether a program printed what a page shows."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, flags)


def needs_gpu(block: Block) -> bool:
    return "<!-- gpu -->" in block.comment


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=pytest.mark.gpu) if needs_gpu(block) else block for block in RUN],
    ids=str,
)
def test_python_in_the_documentation_prints_what_the_page_shows(
    block: Block, broken: Interpreter, tmp_path: Path
) -> None:
    if "cupy_compat.cudamark" in block.code:
        done = subprocess.run(
            [sys.executable, "-c", block.code],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    else:
        printed = broken.output(block.code, **arming())
    if block.prints is not None:
        assert matches(block.prints, printed), f"it prints\n{printed}"


@pytest.mark.parametrize("shown", SHOWN)
def test_a_command_prints_what_the_page_shows(shown: str, broken: Interpreter) -> None:
    command, _, expected = shown.removeprefix("$ ").partition("\n")
    start = f"import runpy, sys; sys.argv[:] = {command.split()}"
    printed = broken.run(f"{start}; runpy.run_module('cupy_compat', run_name='__main__')").stdout
    assert matches(expected, printed), f"it prints\n{printed}"


def test_the_readme_and_the_first_pages_have_blocks_that_run() -> None:
    run = {block.page.relative_to(ROOT).as_posix() for block in RUN}
    assert run >= {"README.md", "docs/start.md", "docs/how.md", "docs/libraries.md"}


@pytest.mark.parametrize("name", ["README.md", "docs/index.md"])
def test_the_first_block_is_the_error_of_a_broken_cupy(name: str, broken: Interpreter) -> None:
    shown = next(token.content for token in tokens_of(ROOT / name) if token.type == "fence")
    # The line in functools.py depends on the version of Python.
    shown = re.sub(r'(functools.py", line )\d+', r"\1...", shown)
    given = broken.run("import cupy", shim=False).stderr
    # Python 3.13 underlines the call; CuPy's files have their folder.
    given = "\n".join(line for line in given.splitlines() if set(line) - set(" ^~")) + "\n"
    assert matches("..." + shown, given)


def test_every_command_in_the_documentation_exists_and_has_its_options() -> None:
    helps: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text()
        spans = re.findall(r"`(cupy-compat [^`]+)`", text)
        fences = [token.content for token in tokens_of(page) if token.type == "fence"]
        for words in COMMAND.findall("\n".join([*spans, *fences])):
            name, *rest = words.split()
            if name.startswith("-"):
                continue
            assert name in COMMANDS, f"{page.name}: cupy-compat {name}"
            helps.setdefault(name, help_of(name))
            # Options after a program belong to the program.
            own = itertools.takewhile(lambda word: word[0] == "-", rest) if name == "run" else rest
            for option in (word for word in own if word.startswith("--")):
                known = re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", helps[name])
                assert known, f"{page.name}: cupy-compat {name} {option}"
    assert helps


def test_every_session_of_nox_in_the_documentation_exists() -> None:
    text = (ROOT / "noxfile.py").read_text()
    sessions = {*re.findall(r"^def (\w+)\(session", text, re.M), *re.findall(r'name="(.+)"', text)}
    named = {name for page in PAGES for name in SESSION.findall(page.read_text())}
    assert named
    assert named <= sessions


def test_every_extra_in_the_documentation_exists() -> None:
    extras = set(importlib.metadata.metadata("cupy-compat").get_all("Provides-Extra") or [])
    found = [names for page in PAGES for names in EXTRA.findall(page.read_text())]
    assert found
    assert {name for names in found for name in names.split(",")} <= extras


def test_every_file_of_the_repository_in_the_documentation_exists() -> None:
    folders = [ROOT, ROOT / "auto", ROOT / "cupy_compat", ROOT / "cupy_compat" / "cudamark"]
    named = {name for page in PAGES for name in FILE.findall(page.read_text())}
    assert named
    assert not {name for name in named if not any((at / name).exists() for at in folders)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_or_heading(page: Path) -> None:
    inline = [child for token in tokens_of(page) for child in token.children or []]
    links = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in inline]
    for link in filter(None, links):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link
