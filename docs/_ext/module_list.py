"""The directive ``module-list``: the first line of each module's docstring, a table a folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

PACKAGE = Path(__file__).parents[2] / "cupy_compat"


def summary(module: Path) -> str:
    """Return the first line of a module's docstring, or of the comment of a CUDA file."""
    text = module.read_text()
    if module.suffix == ".cu":
        return text.partition("\n")[0].removeprefix("// ")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def tables() -> Iterator[str]:
    """Yield the Markdown of each folder: its name, its purpose, and its modules."""
    modules = [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.cu")]
    for folder in sorted({module.parent for module in modules}):
        package = folder / "__init__.py"
        purpose = f": {summary(package)}" if package.exists() else ""
        yield f"**`{folder.relative_to(PACKAGE.parent)}/`**{purpose}\n"
        yield "| Module | Purpose |\n|---|---|"
        for module in sorted(set(modules) - {package}):
            if module.parent == folder:
                yield f"| `{module.name}` | {summary(module)} |"
        yield ""


class ModuleList(SphinxDirective):
    """A table for each folder of the package."""

    # GitHub shows the content instead.
    has_content = True

    def run(self) -> list[Node]:
        """Return the tables."""
        return self.parse_text_to_nodes("\n".join(tables()))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("module-list", ModuleList)
    return {"parallel_read_safe": True}
