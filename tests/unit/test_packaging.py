"""The recipes in packaging/: that they can be read, and say what pyproject.toml says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from xse.version import VERSION

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
RECIPES = {
    "spack": PACKAGING / "spack" / "packages" / "py_xse" / "package.py",
    "easybuild": PACKAGING / "easybuild" / f"xse-{VERSION}-foss-2024a.eb",
    "conda": PACKAGING / "conda" / "meta.yaml",
}


@pytest.mark.parametrize("recipe", ["spack", "easybuild"])
def test_a_recipe_in_python_can_be_parsed(recipe: str) -> None:
    ast.parse(RECIPES[recipe].read_text())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_of_this_version(recipe: str) -> None:
    assert re.search(rf"""["']{re.escape(VERSION)}["']""", RECIPES[recipe].read_text())


@pytest.mark.parametrize("recipe", ["spack", "conda"])
def test_a_recipe_wants_what_the_package_depends_on(recipe: str) -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (listed,) = re.findall(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)
    text = RECIPES[recipe].read_text()
    for name, version in re.findall(r'"([\w-]+)>=([\d.]+)"', listed):
        assert re.search(rf"{name}(@| >=){re.escape(version)}", text), f"{name} >= {version}"
