"""`python -m agentd.cli` is `agentctl`, where another package has taken that name."""

from agentd.cli.main import main

if __name__ == "__main__":
    main()
