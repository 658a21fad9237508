"""The only layer that touches the system."""
