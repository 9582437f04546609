"""The page on what was tried says what the sessions wrote down."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_figures_of_the_page_are_those_of_the_sessions() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "evidence.py"))
    assert tool["PAGE"].read_text() == tool["page"](), "run python tools/evidence.py"
