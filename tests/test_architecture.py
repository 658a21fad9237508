"""House rules that matter, as tests; each message names what to do instead."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "agentd"
LINES_MAX = 400
FUNCTION_LINES_MAX = 60

# Layer -> the layers it may import, itself aside. An arrow missing here is forbidden.
MAY_IMPORT: dict[str, set[str]] = {
    "config": set(),  # values only
    "core": {"config"},
    "wire": {"config", "core"},
    "sinks": {"config", "core"},
    "store": {"config", "core"},  # rows
    "report": {"config", "core"},  # reads rows, writes text
    "simulate": {"config", "core", "wire"},  # the core in virtual time
    "sdk": set(),  # runs inside other people's agents: standard library only
    "client": set(),  # commands over the socket: standard library only
    "daemon": {"config", "core", "wire", "store", "sinks", "report"},  # alone touches the system
    "cli": {"client", "config", "wire", "report", "simulate"},  # talks through the socket
}
# Any layer may ask the package itself for its version.
PACKAGE = "agentd"
# The one door from the command line to the daemon, imported only when it is opened.
DOOR = ROOT / "cli" / "commands_agentd" / "start.py"

# What the core must not do, and what does it instead.
IMPURE: dict[str, str] = {
    "asyncio": "a slow thing is an effect, its end an event",
    "datetime": "now_ms comes in with the event; wall time is added by the journal",
    "logging": "a Journal effect; the daemon logs",
    "os": "an effect",
    "random": "the `jitter` handed to the supervisor",
    "secrets": "the `new_id` handed to the supervisor",
    "select": "an event",
    "signal": "the Signal effect; signals are names here",
    "socket": "an event in, an effect out",
    "sqlite3": "a Persist effect",
    "subprocess": "the Spawn effect",
    "threading": "one consumer, no locks",
    "time": "now_ms comes in with the event",
    "uuid": "the `new_id` handed to the supervisor",
}


def sources(top: Path) -> list[Path]:
    """Return the Python files of a directory, or of the module of that name."""
    return sorted(top.rglob("*.py")) if top.is_dir() else [top.with_suffix(".py")]


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: import by the whole name"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def layer_of(name: str) -> str | None:
    """Return the layer that an imported name belongs to; None: not ours."""
    parts = name.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def exists(layer: str) -> bool:
    return (ROOT / layer).is_dir() or (ROOT / f"{layer}.py").is_file()


def shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("layer", [layer for layer in MAY_IMPORT if exists(layer)])
def test_a_layer_imports_only_what_the_contract_allows(layer: str) -> None:
    for path in sources(ROOT / layer):
        ours = {found for name in imports(path) if (found := layer_of(name))} - {"__version__"}
        allowed = MAY_IMPORT[layer] | {layer} | ({"daemon"} if path == DOOR else set())
        assert ours <= allowed, (
            f"{shown(path)} imports {sorted(ours - allowed)}; {layer} may import "
            f"{sorted(MAY_IMPORT[layer])}. Move what is shared down to `config` or `core`, or "
            f"have it handed in"
        )


def test_every_layer_has_its_place_in_the_contract() -> None:
    layers = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert layers <= set(MAY_IMPORT), "a new layer needs a row in MAY_IMPORT and a decision record"


def test_the_core_is_pure() -> None:
    for path in sources(ROOT / "core"):
        for name in imports(path):
            top = name.split(".")[0]
            assert top not in IMPURE, f"{shown(path)} imports {top}; instead: {IMPURE[top]}"


@pytest.mark.parametrize("layer", [layer for layer in ("client", "sdk") if exists(layer)])
def test_what_runs_elsewhere_needs_the_standard_library_only(layer: str) -> None:
    for path in sources(ROOT / layer):
        foreign = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names
        assert foreign <= {PACKAGE}, f"{shown(path)} imports {sorted(foreign)}: write it plainly"


def test_the_command_line_opens_the_daemon_only_when_asked() -> None:
    top_level = ast.Module(
        [node for node in ast.parse(DOOR.read_text()).body if isinstance(node, ast.ImportFrom)], []
    )
    names = [node.module or "" for node in top_level.body if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if name.startswith("agentd.daemon")]


PYTHON = [
    path
    for top in ("agentd", "tests", "bench", "docs", "examples")
    for path in sources(REPOSITORY / top)
]


def test_a_file_fits_a_reader() -> None:
    for path in PYTHON:
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= LINES_MAX, (
            f"{shown(path)} has {lines} lines, {LINES_MAX} at most: it holds more than one noun"
        )


def test_a_function_fits_a_screen() -> None:
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                assert lines <= FUNCTION_LINES_MAX, (
                    f"{shown(path)}:{node.lineno} {node.name} has {lines} lines, "
                    f"{FUNCTION_LINES_MAX} at most: name its steps"
                )


def test_names_say_what_a_thing_is() -> None:
    for path in PYTHON:
        assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, (
            f"{shown(path)}: a function belongs to a noun; put it beside what it is about"
        )
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith("Manager"), (
                    f"{shown(path)}:{node.lineno} {node.name}: name what it does"
                )


def test_every_file_of_the_package_says_what_it_is() -> None:
    for path in sources(ROOT):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring, f"{shown(path)}: docs/architecture.md shows the first line of a docstring"
