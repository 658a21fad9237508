"""Commands of `agentd`, one a file."""
