"""The decision core in virtual time."""
