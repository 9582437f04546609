"""The directive ``command-help``: what each command's ``--help`` prints, a section for each."""

from __future__ import annotations

import os
import subprocess
import sys

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from cupy_compat.__main__ import COMMANDS


def help_of(*command: str) -> str:
    """Return what ``cupy-compat COMMAND --help`` prints, as wide as the page."""
    return subprocess.run(
        [sys.executable, "-m", "cupy_compat", *command, "--help"],
        env=os.environ | {"COLUMNS": "72", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


class CommandHelp(SphinxDirective):
    """One section for each command."""

    # GitHub shows the content instead.
    has_content = True

    def run(self) -> list[Node]:
        """Return the sections."""
        sections: list[Node] = [self.block(help_of())]
        for name in COMMANDS:
            title = f"cupy-compat {name}"
            section = nodes.section(
                "", nodes.title("", "", nodes.literal("", title)), names=[title]
            )
            self.state.document.note_implicit_target(section, section)
            section += self.block(help_of(name))
            sections.append(section)
        return sections

    def block(self, text: str) -> Node:
        """Return the text as it stands."""
        return nodes.literal_block(text, text, language="none")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
