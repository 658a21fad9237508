"""How far a host's events have come: on disk, so that none is left out and none sent twice."""

import os
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from agentd.client.errors import AgentdError
from agentd.fleet import durable

DIRECTORY_MODE: Final = 0o700
_EPOCH_BYTES: Final = 8


class _Written(Struct):
    epoch: str
    last_id: int


class Cursor:
    """The last event that the servers have, and the numbering that its id belongs to.

    The epoch is drawn when the file is made. It stands beside the daemon's store and goes where
    that goes: where events are numbered from 1 again, they belong to another epoch.
    """

    def __init__(self, path: Path, epoch: str, last_id: int) -> None:
        """Private: `read` makes one."""
        self.epoch = epoch
        self.last_id = last_id
        self._path = path

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read `events.json`, or begin anew; `storage_unavailable` where the disk refuses."""
        path = directory / "events.json"
        try:
            directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
            written = msgspec.json.decode(path.read_bytes(), type=_Written)
        except FileNotFoundError:
            return cls._begin(path)
        except msgspec.DecodeError:
            # Torn: whatever was sent is sent again, under an epoch of its own.
            return cls._begin(path)
        except OSError as error:
            raise _unavailable(path, error) from None
        return cls(path, written.epoch, written.last_id)

    @classmethod
    def _begin(cls, path: Path) -> Self:
        cursor = cls(path, os.urandom(_EPOCH_BYTES).hex(), 0)
        cursor.move(0)
        return cursor

    def renew(self) -> None:
        """Begin another epoch: the daemon numbers its events from the beginning again."""
        self.epoch = os.urandom(_EPOCH_BYTES).hex()
        self.move(0)

    def move(self, last_id: int) -> None:
        """Have it durable that all events up to `last_id` are with the servers."""
        self.last_id = last_id
        try:
            durable.replace(self._path, msgspec.json.encode(_Written(self.epoch, last_id)))
        except OSError as error:
            raise _unavailable(self._path, error) from None


def _unavailable(path: Path, error: OSError) -> AgentdError:
    return AgentdError("storage_unavailable", f"{path}: {error.strerror or error}")
