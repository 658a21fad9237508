"""Fuzzing: for every parser a target that makes inputs and judges what came of them.

`make fuzz` runs them for long (docs/fuzzing.md), the tests here for a moment.
"""
