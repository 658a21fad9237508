"""Notice edits of the config by themselves.

The *directories* are watched, because a watch on a file dies silently with the first atomic
rename. Change kinds lie and are ignored: what counts is the content, which must differ from
what was last seen, stand still for a moment, and not be empty (an editor that truncates
first). All of it happens in a thread of its own, away from the loop.
"""

import errno
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from agentd.config.loaded import Loaded
from agentd.daemon.log import log

# About two wake-ups a second instead of the default's twenty; `stop` takes up to half a second.
STEP_MS: Final = 500
DEBOUNCE_MS: Final = 1_600
TIMEOUT_MS: Final = 60_000

STABLE_S: Final = 0.3
STABLE_ROUNDS_MAX: Final = 20
RETRY_S: Final = 60.0
FILE_BYTES_MAX: Final = 64 << 20


class Seen(NamedTuple):
    """What stood in the files at one moment."""

    digest: str
    whole: bool
    """False: a file was empty or vanished as we read, as when an editor is at work."""


def watched(loaded: Loaded, main: Path) -> list[Path]:
    """Return what to watch for this config: its main file, the agents' directory, variables.

    Files of the directory come and go; they are not named one by one.
    """
    agents_dir = main.parent / loaded.config.daemon.agents_dir
    named = [path for path in loaded.files if path.parent != agents_dir or path.suffix != ".toml"]
    return list(dict.fromkeys([main, agents_dir, *named]))


def fingerprint(places: Iterable[Path]) -> Seen:
    """Digest of every config file in and under `places` (files, or directories of files)."""
    digest, whole = hashlib.blake2b(digest_size=16), True
    for path in sorted(_config_files(places)):
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                continue  # `load` refuses it, whatever it holds
            content = path.read_bytes()
        except OSError as error:  # unreadable is a state, too: `load` will say so
            content, whole = repr(error).encode(), whole and error.errno != errno.ENOENT
        whole = whole and bool(content.strip())
        digest.update(f"{path}\0{len(content)}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return Seen(digest.hexdigest(), whole)


def _config_files(places: Iterable[Path]) -> Iterable[Path]:
    for place in places:
        if place.is_dir():
            yield from (p for p in place.glob("*.toml") if not p.name.startswith("."))
        elif place.exists():
            yield place


class ConfigWatch:
    """A thread that calls `changed` when the config's content is new and stands still."""

    def __init__(self, places: list[Path], changed: Callable[[], None]) -> None:
        """Watch the directories of `places`; `changed` is called in the watching thread."""
        self.places = places
        self._changed = changed
        self._seen = fingerprint(places)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Begin to watch; without a thread it is said so, and the next reload tries again."""
        self._thread = threading.Thread(target=self._run, name="config-watch", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.places = []  # not those that anybody wants watched
            log.error("config.watch", error=error, hint="agentctl reload still works")
            return False
        return True

    def stop(self) -> None:
        """Ask the thread to end; it does within half a second and isn't waited for."""
        self._stop.set()

    def _folders(self) -> list[Path]:
        folders = {place if place.is_dir() else place.parent for place in self.places}
        return sorted(folder for folder in folders if folder.is_dir())

    def _run(self) -> None:
        import watchfiles  # noqa: PLC0415 - 4 MB that a daemon with watch = false needn't pay

        logging.getLogger("watchfiles").setLevel(logging.ERROR)  # a line each timeout otherwise
        while not self._stop.is_set():
            folders = self._folders()
            changes = watchfiles.watch(
                *folders,
                watch_filter=None,
                step=STEP_MS,
                debounce=DEBOUNCE_MS,
                rust_timeout=TIMEOUT_MS,
                stop_event=self._stop,
                recursive=False,
                raise_interrupt=False,
            )
            try:
                for _ in changes:
                    self._look()
                    if self._folders() != folders:
                        break  # agents.d came or went: watch what is there now
            except (OSError, RuntimeError) as error:
                log.error("config.watch", error=error, hint="agentctl reload still works")
                self._stop.wait(RETRY_S)

    def _look(self) -> None:
        """Compare the content once it stands still; a file may stay empty only for so long."""
        found = fingerprint(self.places)
        for _ in range(STABLE_ROUNDS_MAX):
            if self._stop.wait(STABLE_S):
                return
            again = fingerprint(self.places)
            if again.whole and again == found:
                break
            found = again
        if found.digest != self._seen.digest:
            self._seen = found
            self._changed()
