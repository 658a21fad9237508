"""No public function or method that nobody calls: what is not used is not there.

Judged by name: a method is used when something somewhere reads an attribute called so. Two
methods of one name hide each other; what this finds is dead all the same.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "agentd"
# Programs for readers, run as they stand.
NOT_OURS = ROOT / "cli" / "demo"
# What agents' authors call.
FOR_OTHERS = ROOT / "sdk"

# Called by their name from outside of the package: where, and by whom.
CALLED_FROM_OUTSIDE: dict[str, str] = {
    "list_commands": "click, of a group in cli/lazy.py",
    "get_command": "click, of a group in cli/lazy.py",
    "format_commands": "click, of a group in cli/lazy.py",
    "markdown": "docs/generate.py, of config/reference.py",
    "uncommented": "docs/generate.py, of config/reference.py",
    "capture_signals": "uvicorn, of the server in http/serving.py",
    "main_loop": "uvicorn, of the server in http/serving.py",
    "finalize": "sqlite3, of an aggregate in store/counts.py",
}

Defined = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        if not {NOT_OURS, FOR_OTHERS} & set(path.parents):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def definitions(tree: ast.AST) -> Iterator[tuple[Defined, bool]]:
    """What others may call: functions of the module, and (True) methods of its classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from ((each, True) for each, _ in definitions(node))
        elif isinstance(node, Defined) and not node.name.startswith("_"):
            yield node, False


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def imported(tree: ast.AST) -> set[str]:
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in found for alias in node.names}


def unused() -> Iterator[str]:
    trees = dict(modules())
    read = {name for tree in trees.values() for name in attributes(tree)}
    wanted = {name for tree in trees.values() for name in imported(tree)}
    for place, tree in trees.items():
        here = names(tree)
        for node, is_method in definitions(tree):
            called = node.name in read
            if not is_method and not called:
                called = node.name in wanted or node.name in here or bool(node.decorator_list)
            if not called:
                yield f"{place}:{node.lineno} {node.name}"


def test_nothing_public_is_there_that_nobody_calls() -> None:
    dead = [one for one in unused() if one.rpartition(" ")[2] not in CALLED_FROM_OUTSIDE]
    assert not dead, "\n".join(dead)


def test_what_is_said_to_be_called_from_outside_is_there_and_not_called_inside() -> None:
    stale = CALLED_FROM_OUTSIDE.keys() - {one.rpartition(" ")[2] for one in unused()}
    assert not stale, sorted(stale)
