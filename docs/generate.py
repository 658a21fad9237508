"""Write every document that is made from code; `--check` writes nothing and fails if one is stale.

Run as `make docs`. Made are: the option reference and the example config, the state diagram and
the list of files in docs/architecture.md, the proofs in docs/faults.md, and the systemd units in
contrib/systemd.
"""

import ast
import re
import sys
from pathlib import Path

from agentd.cli.systemd_unit import unit_text
from agentd.config import reference
from agentd.core.states import TRANSITIONS, State, Trigger

ROOT = Path(__file__).parents[1]
STANDARD_START = "/usr/local/bin/agentd start"
# The directories of the package in the order of the layers; "" are the files at its top.
LAYERS = (
    "config",
    "core",
    "wire",
    "store",
    "reporting",
    "sinks",
    "daemon",
    "client",
    "http",
    "fleet",
    "cli",
    "simulate",
    "sdk",
    "",
)


def generated() -> dict[Path, str]:
    """Return path → text of every document that is made from code."""
    architecture = ROOT / "docs" / "architecture.md"
    text = between(architecture.read_text(encoding="utf-8"), "states", diagram())
    return {
        ROOT / "docs" / "config.md": reference.markdown(),
        ROOT / "config.example.toml": reference.example(),
        architecture: between(text, "files", files()),
        ROOT / "docs" / "faults.md": faults(),
        ROOT / "contrib" / "systemd" / "agentd.service": unit_text(STANDARD_START),
        ROOT / "contrib" / "systemd" / "agentd-user.service": unit_text(STANDARD_START, "agentd"),
    }


def between(text: str, mark: str, made: str) -> str:
    """Return `text` with what stands between the two marks replaced."""
    begin, end = f"<!-- {mark}: written by `make docs` -->\n", f"<!-- end of {mark} -->"
    head, found, rest = text.partition(begin)
    assert found, f"no mark {begin!r}"
    return f"{head}{begin}{made}{end}{rest.partition(end)[2]}"


def diagram() -> str:
    """Return the state table as a Mermaid diagram: an arrow a pair of states."""
    arrows: dict[tuple[State, State], list[Trigger]] = {}
    for source, ways in TRANSITIONS.items():
        for trigger, target in ways.items():
            arrows.setdefault((source, target), []).append(trigger)
    lines = [
        f"    {source} --> {target}: {', '.join(triggers)}\n"
        for (source, target), triggers in arrows.items()
    ]
    return "".join(["```mermaid\n", "stateDiagram-v2\n", "    [*] --> stopped\n", *lines, "```\n"])


def files() -> str:
    """Return a list of the package's files, each with the first line of its docstring."""
    package = ROOT / "agentd"
    parts: list[str] = []
    for layer in LAYERS:
        found = sorted((package / layer).rglob("*.py") if layer else package.glob("*.py"))
        rows = [row for path in found if (row := _row(path, package))]
        if rows:
            parts += [f"\n### {layer or 'at the top'}\n\n", "| file | what it holds |\n|---|---|\n"]
            parts += rows
    return "".join([*parts, "\n"])


def faults() -> str:
    """Return docs/faults.md with the tests, and the checks in the guest, of each fault."""
    shown_by: dict[str, dict[str, list[str]]] = {}
    tests = ROOT / "tests"
    for path in sorted(tests.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for name, ids in re.findall(r"def (test_((?:[a-m]\d+_)+)\w*)", text):
            for fault in ids.upper().split("_")[:-1]:
                found = shown_by.setdefault(fault, {})
                found.setdefault(str(path.relative_to(tests)), []).append(name)
        for fault in re.findall(r"\"([a-m]\d+)[: ]", text):
            shown_by.setdefault(fault.upper(), {}).setdefault(str(path.relative_to(tests)), [])

    def filled(row: re.Match[str]) -> str:
        fault, what, remark = row["id"], row["what"], row["remark"]
        return f"| {fault} | {what} | {_proofs(shown_by.get(fault, {}))} | {remark} |"

    return re.sub(
        r"^\| (?P<id>[A-M]\d+) \| (?P<what>[^|]*) \| [^|]* \| (?P<remark>[^|]*) \|$",
        filled,
        (ROOT / "docs" / "faults.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )


def _proofs(found: dict[str, list[str]]) -> str:
    """Name the tests against a real daemon and the other files; without the former, all tests."""
    real = {file: names for file, names in found.items() if file.startswith("faults/")}
    others = sorted(found.keys() - real.keys())
    if real:
        shown = [*(name for names in real.values() for name in names), *others]
    else:
        shown = [word for file in others for word in found[file] or [file]]
    return ", ".join(f"`{word}`" for word in dict.fromkeys(shown))


def _row(path: Path, package: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring or (path.name == "__init__.py" and path.parent != package):
        return ""
    first = docstring.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
    return f"| `{path.relative_to(package)}` | {first} |\n"


def stale() -> list[Path]:
    """Return the documents that differ from what would be written."""
    return [
        path
        for path, text in generated().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write what is stale, or with --check only say so; 1 if --check found something."""
    found = stale()
    if "--check" in arguments:
        for path in found:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run `make docs`\n")
        return 1 if found else 0
    texts = generated()
    for path in found:
        path.write_text(texts[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
