"""Forks daemons that need import nothing any more: for tests that start hundreds of them.

Reads one JSON document a line: `{"start": config, "argv": [...], "env": {...}, "stderr": path}`,
answered with a pid, or `{"reap": pid}`, answered with its exit code (negative: a signal) once it
has ended. `"planted"` is a program that is run first: a bug of a test's own, in that daemon alone.
A daemon with AGENTD_TEST_STOPPED in its environment stops before it does anything.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from agentd.daemon.main import run


def main() -> None:
    for line in sys.stdin.buffer.raw:  # unbuffered: nothing of it is in a child twice
        asked = json.loads(line)
        if "reap" in asked:
            _, status = os.waitpid(asked["reap"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become_daemon(asked)
        os.write(1, f"{answer}\n".encode())


def become_daemon(asked: dict[str, Any]) -> None:
    """As a fresh process would: a session, an environment and a stderr of its own."""
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        stderr = os.open(asked["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number, fd in enumerate((null, null, stderr)):
            os.dup2(fd, number)
        os.close(null)
        os.close(stderr)
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.orig_argv[:] = asked["argv"]  # what a re-exec becomes
        if os.environ.pop("AGENTD_TEST_STOPPED", ""):
            os.kill(os.getpid(), signal.SIGSTOP)
        exec(asked.get("planted", ""), {})  # noqa: S102 - written by the test
        code = run(Path(asked["start"]), None)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
