"""Names and globs as people type them, as a condition of SQL."""

from collections.abc import Sequence


def named(column: str, names: Sequence[str]) -> tuple[str, list[object]]:
    """Return the condition that `column` is one of these names or globs; "" for no names."""
    plain = [name for name in names if not set(name) & set("*?[")]
    globs = [name.replace("[!", "[^") for name in names if set(name) & set("*?[")]
    tests = [f"{column} GLOB ?" for _ in globs]
    if len(plain) == 1:
        tests.append(f"{column} = ?")
    elif plain:
        tests.append(f"{column} IN ({', '.join('?' * len(plain))})")
    return (f"({' OR '.join(tests)})" if tests else ""), [*globs, *plain]
