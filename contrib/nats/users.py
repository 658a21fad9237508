"""Make the users of a fleet: a key pair each, and what the NATS server lets each of them do.

    python contrib/nats/users.py /etc/nats --hosts machine-1 machine-2 --operators ada

writes DIR/users.conf, which nats-server.conf includes (public keys and permissions, no secret),
and DIR/NAME.nk, the seed of each user, for `[fleet] credentials_file` on his machine alone. Keys
that are there stay as they are: run it again with one more name. Who isn't named any more is out.

    host       publishes under its own name only, hears commands to itself, sees who is up
    viewer     sees status and events of all hosts, sends the commands that change nothing
    operator   sends all commands, makes and empties the streams
    dashboard  a host that is an operator as well, for the dashboard that its daemon keeps running
    leaf       the NATS server of a site, trusted as the fleet's own; leaf.conf includes NAME.conf
"""

import argparse
import os
import re
import sys
from pathlib import Path

import nkeys

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}")
SEED_BYTES = 32
HEAD = [
    "# Written by contrib/nats/users.py: who may do what. No secret in it.",
    "accounts: {",
    "  AGENTD: {",
]
# Its server decides what each of its hosts may do: it is trusted as this one is.
LEAF = """      # {name}
      {{
        nkey: {key}
        allowed_connection_types: ["LEAFNODE"]
      }}"""
STORE = "    jetstream: enabled"
TAIL = ["    ]", "  }", "}"]


class Rights:
    """Subjects that one user may publish on, and listen on."""

    def __init__(self, inbox: str) -> None:
        self.publish: list[str] = []
        # Answers come to an inbox of his own: nobody reads what was meant for another.
        self.subscribe = [f"_INBOX.{inbox}.>"]


def host(rights: Rights, name: str, prefix: str) -> None:
    """Let it speak for itself, and hear who is there."""
    own = (f"{prefix}_status.{name}", f"{prefix}_status.{name}.alive", f"{prefix}_hosts.{name}")
    rights.publish += [
        *entries(*own, f"{prefix}_claims.>"),
        f"{prefix}.{name}.event",
        "_INBOX.>",  # answers to commands
        *streams("INFO", f"KV_{prefix}_status", f"KV_{prefix}_hosts", f"KV_{prefix}_claims"),
        *streams("INFO", f"{prefix}_events"),
        *streams("MSG.GET", f"KV_{prefix}_status", f"KV_{prefix}_hosts", f"KV_{prefix}_claims"),
    ]
    rights.subscribe += [
        f"$KV.{prefix}_status.*",
        f"$KV.{prefix}_status.*.alive",
        f"{prefix}.{name}.cmd.view.*",
        f"{prefix}.{name}.cmd.operate.*",
    ]


def viewer(rights: Rights, prefix: str) -> None:
    """Let him see everything."""
    rights.publish += [
        f"{prefix}.*.cmd.view.*",
        *streams("INFO", f"KV_{prefix}_status", f"KV_{prefix}_hosts", f"{prefix}_events"),
        *streams("MSG.GET", f"KV_{prefix}_status", f"KV_{prefix}_hosts", f"{prefix}_events"),
    ]
    rights.subscribe += [
        f"$KV.{prefix}_status.*",
        f"$KV.{prefix}_status.*.alive",
        f"{prefix}.*.event",
    ]


def operator(rights: Rights, prefix: str) -> None:
    """Let him do everything."""
    viewer(rights, prefix)
    kept = (f"KV_{prefix}_status", f"KV_{prefix}_hosts", f"KV_{prefix}_claims", f"{prefix}_events")
    rights.publish += [
        f"{prefix}.*.cmd.operate.*",
        *(
            subject
            for verb in ("INFO", "CREATE", "UPDATE", "PURGE")
            for subject in streams(verb, *kept)
        ),
    ]


# Behind a leaf node both go to the domain `fleet`, and are judged by the subject they have there.
def streams(verb: str, *names: str) -> list[str]:
    """Return the subjects of one request of JetStream for some streams."""
    return [f"$JS.{api}.STREAM.{verb}.{name}" for api in ("API", "fleet.API") for name in names]


def entries(*keys: str) -> list[str]:
    """Return the subjects on which entries of buckets are written."""
    return [f"{begin}$KV.{key}" for begin in ("", "$JS.fleet.API.") for key in keys]


def key_of(directory: Path, name: str) -> str:
    """Return a user's public key; his seed is made if he has none."""
    path = directory / f"{name}.nk"
    try:
        seed = path.read_bytes().strip()
    except FileNotFoundError:
        seed = nkeys.encode_seed(os.urandom(SEED_BYTES), nkeys.PREFIX_BYTE_USER)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(bytes(seed) + b"\n")
    return str(nkeys.from_seed(bytearray(seed)).public_key.decode())


def user(name: str, key: str, rights: Rights) -> str:
    """Return a user as the server's configuration has him."""
    lines = [f"      # {name}", "      {", f"        nkey: {key}", "        permissions: {"]
    for verb, subjects in (("publish", rights.publish), ("subscribe", rights.subscribe)):
        lines.append(f"          {verb}: {{ allow: [")
        lines += [f'            "{subject}"' for subject in dict.fromkeys(subjects)]
        lines.append("          ] }")
    return "\n".join([*lines, "        }", "      }"])


def main() -> int:
    """Write the users, and say what was written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    for kind in ("hosts", "viewers", "operators", "dashboards", "leaves"):
        parser.add_argument(f"--{kind}", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--prefix", default="agentd")
    parser.add_argument("--for-leaf", action="store_true", help="users.conf for a leaf node")
    asked = parser.parse_args()
    names = [*asked.hosts, *asked.viewers, *asked.operators, *asked.dashboards, *asked.leaves]
    wrong = [name for name in names if not NAME.fullmatch(name)]
    if wrong or not names or len(set(names)) < len(names):
        told = f"names are letters, digits, - and _, each once: {wrong or names}"
        sys.stderr.write(f"users.py: {told}\n")
        return 2
    asked.directory.mkdir(parents=True, exist_ok=True)
    users = [user(name, *granted(name, asked)) for name in names if name not in asked.leaves]
    for name in asked.leaves:
        users.append(LEAF.format(name=name, key=key_of(asked.directory, name)))
        seed = (asked.directory / f"{name}.nk").read_text().strip()
        path = asked.directory / f"{name}.conf"
        path.touch(mode=0o600)
        path.write_text(f"nkey: {seed}\n")  # as the leaf's configuration wants to include it
    store = [] if asked.for_leaf else [STORE]
    lines = [*HEAD, *store, "    users: [", *users, *TAIL, ""]
    (asked.directory / "users.conf").write_text("\n".join(lines))
    sys.stdout.write(f"{asked.directory}/users.conf: {len(users)} users\n")
    sys.stdout.write(f"{asked.directory}/NAME.nk: the seed of each, for that machine alone\n")
    return 0


def granted(name: str, asked: argparse.Namespace) -> tuple[str, Rights]:
    """Return a user's public key, and what he may do."""
    key = key_of(asked.directory, name)
    rights = Rights(key)
    if name in asked.hosts or name in asked.dashboards:
        host(rights, name, asked.prefix)
    if name in asked.viewers:
        viewer(rights, asked.prefix)
    if name in asked.operators or name in asked.dashboards:
        operator(rights, asked.prefix)
    return key, rights


if __name__ == "__main__":
    sys.exit(main())
