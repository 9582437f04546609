"""The directive ``doctor-checks``: the doctor's table of checks, a section for each."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from cupy_compat.doctor import diagnosis
from cupy_compat.doctor.case import Case
from cupy_compat.doctor.checks import CHECKS, Check

TRACKER = "https://github.com/{}/issues/{}"


class DoctorChecks(SphinxDirective):
    """One section for each check, worded for an unknown machine."""

    # GitHub shows the content instead.
    has_content = True

    def run(self) -> list[Node]:
        """Return the sections."""
        sections: list[Node] = []
        for check in CHECKS:
            title = f"{check.about[0].upper()}{check.about[1:]}"
            section = nodes.section("", nodes.title("", "", *inline(title)))
            section["names"] = [check.name]
            self.state.document.note_implicit_target(section, section)
            section += self.content_of(check)
            sections.append(section)
        return sections

    def content_of(self, check: Check) -> list[Node]:
        """Return the message, the cause, the cures and the source of a check."""
        finding = diagnosis.explain_check(check, Case())
        content: list[Node] = [paragraph(f"Check `{check.name}`:")]
        if check.example:
            content.append(nodes.literal_block(check.example, check.example, language="text"))
        content.append(paragraph(finding.cause))
        cures = nodes.enumerated_list()
        cures += [nodes.list_item("", paragraph(cure)) for cure in finding.cures]
        content.append(cures)
        if check.source:
            content.append(nodes.paragraph("", "Source: ", *source(check.source), nodes.Text(".")))
        return content


def paragraph(text: str) -> Node:
    """Return a paragraph, with text in backquotes as code."""
    return nodes.paragraph("", "", *inline(text))


def inline(text: str) -> list[Node]:
    """Return text, with parts in backquotes as code."""
    pieces = re.split(r"`([^`]*)`", text)
    return [
        nodes.literal("", piece) if at % 2 else nodes.Text(piece) for at, piece in enumerate(pieces)
    ]


def source(text: str) -> list[Node]:
    """Return the source, as a link if it is an issue of a repository."""
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", text)
    if found is None:
        return [nodes.Text(text)]
    return [nodes.reference("", text, refuri=TRACKER.format(*found.groups()))]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("doctor-checks", DoctorChecks)
    return {"parallel_read_safe": True}
