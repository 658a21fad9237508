"""agentctl completion: names of commands, options and agents at TAB."""

from typing import Final

import click
from click.shell_completion import ShellComplete, get_completion_class

SHELLS: Final = ("bash", "fish", "zsh")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    r"""Print the completion script of SHELL.

    \b
    bash: eval "$(agentctl completion bash)" in ~/.bashrc
    zsh:  eval "$(agentctl completion zsh)" in ~/.zshrc
    fish: agentctl completion fish > ~/.config/fish/completions/agentctl.fish
    """
    found = get_completion_class(shell)
    assert found is not None, shell
    script = found(ctx.find_root().command, {}, "agentctl", "_AGENTCTL_COMPLETE")
    # Past bash's own `source`, which would start bash only to read its version.
    print(ShellComplete.source(script))
