"""The directive ``written-pages``: a toctree whose pages need not all be there."""

from __future__ import annotations

from docutils.nodes import Node
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.directives.other import TocTree
from sphinx.util.typing import ExtensionMetadata


class WrittenPages(TocTree):
    """A toctree that passes over what nobody has written yet, and keeps its place."""

    def run(self) -> list[Node]:
        """Return the toctree."""
        self.content = StringList([page for page in self.content if page in self.env.found_docs])
        return super().run()


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("written-pages", WrittenPages)
    return {"parallel_read_safe": True}
