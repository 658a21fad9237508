"""Typed configuration: TOML in, values or all errors out."""
