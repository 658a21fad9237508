"""Frameworks that tell of their calls and steps by themselves: one file each."""
