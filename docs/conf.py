"""Sphinx's configuration. One command builds the site, with warnings as errors:

    pip install -e '.[docs]' && sphinx-build -E -W --keep-going docs build/docs

Sphinx rather than mkdocs-material: it knows Python's objects, so a page that names one which does
not exist, and a docstring whose link leads nowhere, fail the build.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import pyuvnet

project = "pyuvnet"
author = "pyuvnet contributors"
project_copyright = "pyuvnet contributors, MIT licence"
version = release = pyuvnet.__version__

extensions = ["myst_parser", "pyuvnet_api", "sphinx_copybutton"]
# Not for what a program prints.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"
# Read where the sources are: a search on the site finds what users need.
exclude_patterns = ["maintainers"]
nitpicky = True
# Names that exist for type checkers only: signatures show them, and no page is about them.
FOR_CHECKERS = ("Callback", "Connecting", "Listening", "Path", "Place", "Port", "Then")
FOR_CHECKERS += tuple(f"{whose}Options" for whose in ("Bound", "Connect", "Listen", "Serve"))
FOR_CHECKERS += ("ServerOptions", "SocketOptions", "StreamOptions")
nitpick_ignore = [("py:class", name) for name in FOR_CHECKERS]
smartquotes = False  # event names are 'data', in straight quotes

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# What a block is for, after its language, is for tests/test_docs.py: see there.

html_theme = "furo"
html_title = f"pyuvnet {release}"
html_static_path = ["_static"]
html_css_files = ["pyuvnet.css"]
html_search_scorer = str(Path(__file__).parent / "_ext" / "scorer.js")
html_copy_source = False
html_show_sourcelink = False
# Both have the contrast of WCAG's AA, which tools/screens.py measures.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
