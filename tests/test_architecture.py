"""House rules that matter, as tests; each message names what to do instead."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentd

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
    "reporting": {"config", "core"},  # reads rows, writes text
    "simulate": {"config", "core", "wire"},  # the core in virtual time
    "sdk": set(),  # runs inside other people's agents: standard library only
    "client": set(),  # commands over the socket: standard library only
    "daemon": {"config", "core", "wire", "store", "sinks", "reporting"},  # alone touches the system
    "fleet": {"client", "config", "reporting"},  # the link to other machines, a process of its own
    "http": {"client", "config", "reporting", "fleet"},  # the dashboard, a process of its own
    # Talks through the socket; `http` and `fleet` only when one of their commands is called.
    "cli": {"client", "config", "wire", "reporting", "simulate", "http", "fleet"},
}
# What an extra brings, and the only layers that may import it.
EXTRAS: dict[str, set[str]] = {
    "starlette": {"http"},
    "uvicorn": {"http"},
    "prometheus_client": {"http"},
    "nats": {"fleet"},
    "nkeys": {"fleet"},
}
# Any layer may ask the package itself for its version.
PACKAGE = "agentd"
# The one door from the command line to the daemon, imported only when it is opened.
DOOR = ROOT / "cli" / "commands_agentd" / "start.py"
# Names layers that run as processes of their own, and imports none of them.
PROCESSES = ROOT / "config" / "internal.py"

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
# What the core, and what of `config` it stands on, may import of others: values and arithmetic.
PURE: set[str] = {
    *("array", "bisect", "collections", "dataclasses", "decimal", "difflib", "enum", "fnmatch"),
    *(
        "fractions",
        "functools",
        "heapq",
        "itertools",
        "math",
        "msgspec",
        "operator",
        "re",
        "statistics",
    ),
    "typing",
}
# Built-in ways out of a pure function.
WAYS_OUT: set[str] = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}


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


def file_of(name: str) -> Path | None:
    """Return the file of a module of ours, or of the module that an imported name is from."""
    parts = name.split(".")
    for path in (REPOSITORY.joinpath(*parts), REPOSITORY.joinpath(*parts[:-1])):
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def standing_on(paths: list[Path]) -> set[Path]:
    """Return files of ours and all of ours that they import, however far down."""
    found: set[Path] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            ours = (file_of(name) for name in imports(path) if layer_of(name))
            waiting += [below for below in ours if below is not None]
    return found


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


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_an_extra_brings_is_imported_by_its_own_layer_alone(extra: str) -> None:
    for layer in set(MAY_IMPORT) - EXTRAS[extra]:
        for path in sources(ROOT / layer) if exists(layer) else ():
            tops = {name.split(".")[0] for name in imports(path)}
            assert extra not in tops, f"{shown(path)}: only {sorted(EXTRAS[extra])} may"


def test_every_layer_has_its_place_in_the_contract() -> None:
    layers = {path.name for path in ROOT.iterdir() if any(path.rglob("*.py"))}
    layers |= {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert layers <= set(MAY_IMPORT), "a new layer needs a row in MAY_IMPORT and a decision record"


def test_the_package_itself_imports_nothing_of_ours() -> None:
    """Every layer asks it for the version, so that whatever it imports, all of them would.

    Measured, not read: the SDK's names are there for the type checker. In an agent's own
    process (AGENTD_SOCKET) the heartbeat is imported at once.
    """
    code = "import sys, agentd;sys.exit(any(name.startswith('agentd.') for name in sys.modules))"
    env = {name: value for name, value in os.environ.items() if name != "AGENTD_SOCKET"}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


def test_a_module_named_in_a_string_is_one_that_may_be_imported() -> None:
    """`import_module("agentd.daemon.main")` would be an arrow that no other test here sees."""
    for layer, allowed in MAY_IMPORT.items():
        for path in sources(ROOT / layer) if exists(layer) else ():
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    named = re.fullmatch(r"agentd\.([a-z]+)(\.\w+)*", node.value)
                    known = named is not None and named[1] in MAY_IMPORT and path != PROCESSES
                    assert not known or named[1] in allowed | {layer}, (
                        f"{shown(path)}:{node.lineno} names {node.value}"
                    )


def test_the_core_is_pure() -> None:
    """So is what it stands on: `config` may read files, and the core may not import that part."""
    for path in standing_on(sources(ROOT / "core")):
        for name in imports(path):
            top = name.split(".")[0]
            instead = IMPURE.get(top, "if it is as pure as arithmetic, a place in PURE")
            assert top in PURE | {PACKAGE}, f"{shown(path)} imports {top}; instead: {instead}"


def test_the_core_has_no_way_out() -> None:
    for path in sources(ROOT / "core"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Name) and node.id in WAYS_OUT), (
                f"{shown(path)}:{node.lineno} {node.id}: an effect, and its end an event"
            )


@pytest.mark.parametrize("layer", [layer for layer in ("client", "sdk") if exists(layer)])
def test_what_runs_elsewhere_needs_the_standard_library_only(layer: str) -> None:
    for path in sources(ROOT / layer):
        foreign = {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names
        assert foreign <= {PACKAGE}, f"{shown(path)} imports {sorted(foreign)}: write it plainly"


def test_the_command_line_opens_the_daemon_only_when_asked() -> None:
    """Measured, not read: importing the command loads nothing of the daemon."""
    code = (
        "import sys, importlib; importlib.import_module('agentd.cli.commands_agentd.start');"
        "sys.exit(any(name.startswith('agentd.daemon') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_loads_no_extra_before_it_is_asked_for() -> None:
    """Measured, not read: `agentctl status` must not pay for the dashboard or the fleet."""
    code = (
        "import sys, importlib; importlib.import_module('agentd.cli.main');"
        f"sys.exit(any(name.split('.')[0] in {set(EXTRAS)} or "
        "name.startswith(('agentd.http', 'agentd.fleet')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_daemon_starts_without_what_only_a_request_needs() -> None:
    """Measured, not read. `ssl` is not among them: asyncio imports it."""
    late = {"http.client", "email", "urllib.request", "apprise", "requests", "shutil", "lzma"}
    code = (
        "import sys, importlib; importlib.import_module('agentd.daemon.main');"
        f"sys.exit(' '.join({late} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert not ended.returncode, f"imported at the start: {ended.stderr}"


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


def test_no_part_of_the_package_hides_a_public_name_of_the_sdk() -> None:
    parts = {path.stem for path in ROOT.iterdir() if path.name != "__init__.py"}
    hidden = parts & set(agentd.__all__)
    assert not hidden, f"`import agentd.X` would replace agentd.X for agents: rename {hidden}"
