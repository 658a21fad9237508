"""Bytes in, values out, and back: the socket's language."""
