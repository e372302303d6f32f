"""The parts as docs/developers/architecture.md lists them: who may use what, and that no file is forgotten."""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

from tests.unit.test_docs import table_rows

ROOT = Path(__file__).parents[2]

#: By-name imports at run time, which an import statement does not show: what they may reach is said here.
LATE: set[tuple[str, str]] = set()


def parts_of(folder: str) -> dict[str, set[str]]:
    """Each part of a table of docs/developers/architecture.md, and the parts it may use."""
    text = (ROOT / "docs" / "developers" / "architecture.md").read_text()
    table = text[text.index(f"| part of `{folder}/` |") :].split("\n\n")[0]
    parts: dict[str, set[str]] = {}
    for names, _, may_use in table_rows(table)[1:]:
        for name in re.findall(r"`([\w.]+)/?`", names):
            parts[name.removesuffix(".py")] = set(re.findall(r"\w+", may_use))
    return parts


def modules() -> dict[str, Path]:
    """The modules of the package by their name within it; a folder's own file has the folder's name."""
    found = {}
    for path in sorted((ROOT / "xse").rglob("*.py")):
        relative = path.relative_to(ROOT / "xse").with_suffix("").parts
        name = ".".join(relative[:-1] if relative[-1] == "__init__" else relative)
        if name:
            found[name] = path
    return found


def imports(path: Path) -> set[str]:
    """Every module of the package that an import of this file names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def used_by(name: str) -> set[str]:
    """The modules of the package that this one imports."""
    own = {f"xse.{n}": n for n in modules()}
    used = {own[m] for m in imports(modules()[name]) if m in own}
    return used - {to for frm, to in LATE if frm == name} - {name}


def part(name: str) -> str:
    return name.split(".")[0]


def test_the_table_lists_every_part_and_each_may_only_use_parts_above_it() -> None:
    parts = parts_of("xse")
    assert set(parts) == {part(name) for name in modules()}
    seen: set[str] = set()
    for name, may_use in parts.items():
        assert may_use <= seen, f"{name} may use what stands below it"
        seen.add(name)


@pytest.mark.parametrize("name", modules())
def test_a_module_uses_only_the_parts_that_its_part_may_use(name: str) -> None:
    assert {part(m) for m in used_by(name)} <= parts_of("xse")[part(name)] | {part(name)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    folders = {name for name, path in modules().items() if path.name == "__init__.py"}
    graph = {name: used_by(name) - folders for name in modules() if name not in folders}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(graph)


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("parsl", {"parsl.executor", "parsl.options", "parsl.scaling", "parsl.codec", "parsl.errors"}),
        ("pickle", {f"functions.{name}" for name in ("payload", "by_value", "changes", "definitions", "mirror")}),
        ("dill", set()),
        ("zmq", {"interchange.tcp.listener", "interchange.tcp.authentication", "launch.keys", "doctor.look"}),
        (
            "socket",
            {
                "client.client",
                "client.io_thread",
                "wire.stream",
                "interchange.__main__",
                "interchange.tcp.listener",
                "interchange.tcp.pending",
                "interchange.control",
                "interchange.loop",
                "launch.addresses",
                "launch.scratch",
                "live.ask",
            },
        ),
        (
            "subprocess",
            {
                "functions.script",
                "client.client",
                "launch.allocation",
                "launch.binary",
                "launch.launchers",
                "launch.probe",
                "pool.local_block",
            },
        ),
    ],
)
def test_a_library_is_used_only_where_it_should_be(library: str, allowed: set[str]) -> None:
    users = {n for n, path in modules().items() if any(m.split(".")[0] == library for m in imports(path))}
    assert users == allowed


def c_files() -> dict[str, Path]:
    return {str(path.relative_to(ROOT / "csrc")): path for path in sorted((ROOT / "csrc").rglob("*.[ch]"))}


def c_part(name: str) -> str:
    return name.split("/")[0].split(".")[0]


def test_the_table_lists_every_part_of_the_pool() -> None:
    assert set(parts_of("csrc")) == {c_part(name) for name in c_files()}


@pytest.mark.parametrize("name", c_files())
def test_a_file_of_c_includes_only_the_parts_that_its_part_may_use(name: str) -> None:
    used = {c_part(header) for header in re.findall(r'#include "([^"]+)"', c_files()[name].read_text())}
    assert used <= parts_of("csrc")[c_part(name)] | {c_part(name)}


@pytest.mark.parametrize(
    ("what", "allowed"),
    [
        (r"#include <mpi\.h>", {f"links/mpx{part}" for part in (".c", "_recv.h", "_requests.h", "_ring.h", "_send.h")}),
        (r"#include <zmq\.h>", set()),
        (r'#include "links/libzmq\.h"', {"links/libzmq.c", "links/zlink.c"}),
        (r"\bdlopen\(", {"links/libzmq.c", "links/mpx_load.c"}),
        (r"#include <Python\.h>", {"worker/interpreter.c"}),
        (r"\bfork\(\)", {"worker/zygote.c", "worker/zygote_link.c"}),
        (
            r"\bclock_gettime\(",
            {"base/logfile.c", "base/loop.c", "links/zlink.c", "wire/outq.c", "worker/orders.h", "worker/worker.c"},
        ),
    ],
)
def test_what_only_some_files_of_c_may_use(what: str, allowed: set[str]) -> None:
    assert {name for name, path in c_files().items() if re.search(what, path.read_text())} == allowed


@pytest.mark.parametrize(
    "core",
    [
        "manager/manager",
        "manager/recall",
        "manager/rings",
        "leader/leader",
        "leader/answers",
        "leader/prefetch",
        "leader/share",
        "wire/tasks",
        "wire/wire",
        "links/mpx_frame",
        "base/idset",
        "base/deadlines",
    ],
)
def test_files_that_decide_do_no_input_or_output(core: str) -> None:
    text = (ROOT / "csrc" / f"{core}.c").read_text()
    io = (
        r'#include "\w+/(loop|mpx|link|zlink|stream|zygote|relay|runner_\w+|bell)\.h"|#include <(sys/|unistd|poll|time)'
    )
    assert not re.search(io, text)


def test_meson_installs_every_python_file_and_builds_every_c_file() -> None:
    text = (ROOT / "meson.build").read_text()
    listed = set(re.findall(r"'((?:xse|csrc)/[\w/]+\.(?:py|c))'", text))
    there = {
        str(p.relative_to(ROOT))
        for folder, kind in (("xse", "py"), ("csrc", "c"))
        for p in (ROOT / folder).rglob(f"*.{kind}")
    }
    built_by_name = {"csrc/worker/embed/build_embed.py"}
    assert there - built_by_name == listed - built_by_name
