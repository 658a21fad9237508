"""Commands on other machines (`-H`): over the system's ssh, or over NATS, many at once."""
