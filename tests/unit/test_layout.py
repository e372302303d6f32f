"""The house as docs/architecture.md draws it: who may use what, and that no file is forgotten."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: From the ground up: a file may import those above it in this list and no others of the package.
LAYERS = [
    {
        "version",
        "addresses",
        "captured",
        "errors",
        "local_jobs",
        "template",
        "keys",
        "place",
        "signals",
        "interchange.log",
    },
    {"wire", "scratch", "parsl_errors"},
    {"frames", "segments", "options"},
    {"payload"},
    {"stream", "commands", "by_value", "parsl_codec", "launch"},
    {"future", "local_block", "worker", "interchange.queue", "interchange.refusals"},
    {"client", "chunks", "interchange.core", "monitoring"},
    {"interchange.zap", "keeper"},
    {"interchange.lobby"},
    {"interchange.door"},
    {"interchange.loop", "pool", "executor", "doctor.facts"},
    {"doctor.diagnosis", "doctor.look"},
    {"interchange.__main__", "cli.pool", "cli.mpi_worker_pool", "cli.doctor"},
    {"cli.xse"},
]

#: By-name imports at run time, which an import statement does not show: what they may reach is said here.
LATE = {("payload", "by_value")}


def modules() -> dict[str, Path]:
    """Of the package, by name within it; packages' own files, which only hand names on, are left out."""
    return {
        ".".join(path.relative_to(ROOT / "xse").with_suffix("").parts): path
        for path in sorted((ROOT / "xse").rglob("*.py"))
        if path.name != "__init__.py"
    }


def imports(path: Path) -> set[str]:
    """Every module named in an import of this file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_layer() -> None:
    assert {name for layer in LAYERS for name in layer} == set(modules())


@pytest.mark.parametrize("name", modules())
def test_a_module_uses_only_what_lies_below_it(name: str) -> None:
    level = next(i for i, layer in enumerate(LAYERS) if name in layer)
    below = {f"xse.{n}" for layer in LAYERS[:level] for n in layer}
    used = {m for m in imports(modules()[name]) if m in {f"xse.{n}" for n in modules()}}
    used -= {f"xse.{to}" for frm, to in LATE if frm == name}
    assert used <= below


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("parsl", {"executor", "parsl_codec", "parsl_errors"}),
        ("pickle", {"payload", "by_value", "captured"}),
        ("dill", {"by_value"}),
        ("zmq", {"interchange.door", "interchange.zap", "keys", "doctor.look"}),
        (
            "socket",
            {
                "client",
                "stream",
                "interchange.__main__",
                "interchange.door",
                "interchange.lobby",
                "interchange.loop",
                "scratch",
            },
        ),
        ("subprocess", {"client", "launch", "local_block"}),
    ],
)
def test_a_library_is_used_only_where_it_should_be(library: str, allowed: set[str]) -> None:
    users = {n for n, path in modules().items() if any(m.split(".")[0] == library for m in imports(path))}
    assert users == allowed


@pytest.mark.parametrize(
    ("what", "allowed"),
    [
        (r"#include <mpi\.h>", {"mpx.c"}),
        (r"#include <zmq\.h>", {"zlink.c"}),
        (r"#include <Python\.h>", {"interpreter.c"}),
        (r"\bfork\(\)", {"zygote.c"}),
        (r"\bclock_gettime\(", {"logfile.c", "loop.c", "worker.c", "zlink.c", "zygote.c"}),
    ],
)
def test_in_c_too(what: str, allowed: set[str]) -> None:
    users = {path.name for path in (ROOT / "csrc").glob("*.[ch]") if re.search(what, path.read_text())}
    assert users == allowed


@pytest.mark.parametrize(
    "brain",
    "manager leader answers tasks wire share mpx_frame idset prefetch rings deadlines".split(),
)
def test_brains_do_no_io(brain: str) -> None:
    text = (ROOT / "csrc" / f"{brain}.c").read_text()
    hands = r'#include "(loop|mpx|link|zlink|stream|zygote|relay|runner_\w+|bell)\.h"|#include <(sys/|unistd|poll|time)'
    assert not re.search(hands, text)


def test_meson_installs_every_python_file_and_builds_every_c_file() -> None:
    text = (ROOT / "meson.build").read_text()
    listed = set(re.findall(r"'((?:xse|csrc)/[\w/]+\.(?:py|c))'", text))
    there = {
        str(p.relative_to(ROOT))
        for folder, kind in (("xse", "py"), ("csrc", "c"))
        for p in (ROOT / folder).rglob(f"*.{kind}")
    }
    assert there - {"csrc/embed/build_embed.py"} == listed - {"csrc/embed/build_embed.py"}
