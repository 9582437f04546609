"""The tables of the documentation are those of docs/_data."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

FIGURES = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "figures.py"))
PAGES = {page.name: page.read_text() for page in FIGURES["PAGES"]}


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_of_a_page_are_those_of_the_data(name: str) -> None:
    assert FIGURES["written"](PAGES[name]) == PAGES[name], "run python tools/figures.py"


def test_each_table_appears_on_one_page() -> None:
    shown = [found[1] for page in PAGES.values() for found in FIGURES["BLOCK"].findall(page)]
    assert sorted(shown) == sorted(FIGURES["BLOCKS"])
