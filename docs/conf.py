"""How Sphinx makes the site; ``nox -s docs`` runs it."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]

project = _project["name"]
author = _project["authors"][0]["name"]
copyright = author
release = importlib.metadata.version(project)

extensions = [
    "command_help",
    "doctor_checks",
    "module_list",
    "myst_parser",
    "numpydoc",
    "sort_plot",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

myst_heading_anchors = 3
myst_html_meta = {"description": _project["description"]}
# What a shell prints is not copied with the command.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div:not(.highlight-text):not(.highlight-pytb) > div.highlight pre"
# Docstrings say `name` in single quotes of this kind, as NumPy's do, and mean code.
default_role = "code"
highlight_language = "none"
# Types stand in the docstrings, in words; to link those of other projects would take a network.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = f"{project} {release}"
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
# These are sections of one page, and have nothing to list there.
html_sidebars = {"index": [], "start": [], "api": []}
# Without a mode the theme's script reports an error.
html_context = {"default_mode": "auto"}
html_theme_options = {
    "icon_links": [
        {
            "name": "Source",
            "url": _project["urls"]["Source"],
            "icon": "fa-brands fa-github",
        }
    ],
    "header_links_before_dropdown": 6,
    "logo": {"text": html_title},
    "search_as_you_type": True,
    "search_bar_text": "Search",
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
