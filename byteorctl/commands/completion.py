"""`byteorctl completion`: scripts for shells."""

from __future__ import annotations

import click

from byteorctl.app import example

PROGRAM = "byteorctl"
VARIABLE = "_BYTEORCTL_COMPLETE"


@click.command(
    "completion",
    epilog=example(
        "byteorctl completion bash > ~/.local/share/bash-completion/completions/byteorctl",
        'byteorctl completion zsh > "${fpath[1]}/_byteorctl"',
        "byteorctl completion fish > ~/.config/fish/completions/byteorctl.fish",
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from byteorctl.cli import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}; wanted bash, zsh or fish")
    complete = kind(cli, {}, PROGRAM, VARIABLE)
    click.echo(complete.source_template % complete.source_vars())
