"""What speaks of other machines and is heard by none of them is warned of."""

import pytest

from tests.config.conftest import Read

LINKED = '[fleet]\nname = "machine-1"\nnats = ["nats://127.0.0.1"]\n'
ALONE = '[fleet]\nname = "machine-1"\n'
BUDGET = "[fleet.budget]\nusd_per_day = 5\n"


def agent(*depends_on: str) -> str:
    names = ", ".join(f'"{name}"' for name in depends_on)
    return (
        f'[agents.a]\ncommand = "sleep 9"\ndepends_on = [{names}]\n[agents.b]\ncommand = "true"\n'
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LINKED + BUDGET + agent("b", "machine-2/b"), []),
        (ALONE + agent("b"), []),
        (ALONE + BUDGET, [(4, "fleet.budget.usd_per_day", "bounds nothing")]),
        (ALONE + agent("b", "machine-2/b"), [(5, "agents.a.depends_on[1]", "is not waited for")]),
        (LINKED + agent("machine-1/b"), [(6, "agents.a.depends_on[0]", "waits without end")]),
    ],
)
def test_it_is_warned_of_where_it_stands(
    read: Read, text: str, told: list[tuple[int, str, str]]
) -> None:
    loaded = read(text)
    assert not loaded.errors
    found = [one for one in loaded.warnings if "pip install" not in one.hint]
    assert [(one.line, one.key) for one in found] == [(line, key) for line, key, _ in told]
    assert all(part in one.message for one, (_, _, part) in zip(found, told, strict=True))


def test_what_all_agents_inherit_is_shown_where_it_was_written(read: Read) -> None:
    loaded = read('[defaults]\ndepends_on = ["machine-2/b"]\n[agents.a]\ncommand = "true"\n')
    [warning] = loaded.warnings
    assert (warning.line, warning.key) == (2, "agents.a.depends_on[0]")
