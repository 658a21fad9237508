"""The demo fleet: real programs with real troubles; `agentd demo` copies and runs them."""
