"""What docs/alerts.md shows works as it stands."""

import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.sinks.registry import SINKS
from tests.config.conftest import Read, read

__all__ = ["read"]

TEXT = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
CONFIGS = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
NAMES = {"url_file", "routing_key_file", "secret_file"}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_shown_is_one(read: Read, tmp_path: Path, config: str) -> None:
    for key, name in re.findall(r'^(\w+) = "([^"]*)"', config, re.MULTILINE):
        if key in NAMES:
            (tmp_path / name).write_text("x")
            (tmp_path / name).chmod(0o600)
    loaded = read(config)
    assert loaded.errors == loaded.warnings == []


def test_every_kind_of_sink_is_shown() -> None:
    shown = {
        kind for config in CONFIGS for kind in re.findall(r'^type = "(\w+)"', config, re.MULTILINE)
    }
    assert shown == set(SINKS)


def test_the_check_of_a_signature_that_is_shown_is_right() -> None:
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Callable[[bytes, bytes, str], bool]] = {}
    exec(code, names)  # type: ignore[arg-type]  # noqa: S102 - our own document
    mac = hmac.new(b"secret", b"body", hashlib.sha256).hexdigest()
    assert names["is_ours"](b"secret", b"body", f"sha256={mac}")
    assert not names["is_ours"](b"secret", b"bodY", f"sha256={mac}")
