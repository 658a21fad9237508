"""Several machines over NATS: the link process of each host, and the library of whoever looks.

`python -m agentd.fleet --config FILE` is the link process (internal agent `agentd-fleet`). The
dashboard and `agentctl fleet` use `settings`, `connection`, `view`, `events` and `commands`
directly, with credentials of their own, and never through a daemon.
"""
