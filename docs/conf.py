"""Sphinx configuration of the manual: ``scripts/docs`` builds it, and each warning is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from xse.cli.xse import COMMANDS
from xse.version import VERSION

ROOT = Path(__file__).parents[1]

project = "xse"
author = "the xse developers"
project_copyright = "the xse developers"
release = version = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_generated"]
nitpicky = False  # the annotations name Parsl's types, whose documentation is not at hand

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_title = f"xse {VERSION}"
html_theme_options = {"navigation_with_keys": True}


def help_of(*command: str) -> None:
    """Write what the command prints for ``--help`` to docs/_generated, from where a page includes it."""
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "100"})
    target = ROOT / "docs" / "_generated" / f"{'-'.join(Path(word).name for word in command)}.txt"
    target.parent.mkdir(exist_ok=True)
    if not target.exists() or target.read_text() != done.stdout:
        target.write_text(done.stdout)


XSE = str(Path(sys.executable).with_name("xse"))
help_of(str(Path(sys.executable).with_name("xse-pool")))
help_of(XSE)
for command in COMMANDS:
    help_of(XSE, command)

man_pages = [
    ("man/xse", "xse", "look at hosts and runs of the Extreme-Scale Executor", "", 1),
    ("man/xse-pool", "xse-pool", "the worker pool of the Extreme-Scale Executor", "", 1),
]
