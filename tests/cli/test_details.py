"""The long view of one agent, where the whole picture in test_views.py says too little."""

import pytest

from agentd.cli.views.details import details
from tests.cli.stub import agent


@pytest.mark.parametrize(
    ("ended", "shown"),
    [
        ({"code": 3, "evidence": "exit code 3"}, "EXITED, exit code 3, then"),
        ({"code": 3, "evidence": "exit code 33"}, "EXITED, exit code 3, exit code 33, then"),
        ({"code": 3, "evidence": "never ready"}, "EXITED, exit code 3, never ready, then"),
        ({"signal": 9, "evidence": "signal 9 (SIGKILL)"}, "EXITED, signal 9 (SIGKILL), then"),
    ],
)
def test_how_the_last_run_ended_is_said_once(ended: dict[str, object], shown: str) -> None:
    one = agent("a") | {"last_exit": {"reason": "EXITED", "time": "then", **ended}}
    assert f"  last exit  {shown}\n" in str(details(one))
