"""The command line: talks to the daemon through its socket only."""
