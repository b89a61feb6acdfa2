"""`qubeward completion`: teach a shell this program's words."""

import click
from click.shell_completion import get_completion_class

from .session import examples

_PROGRAM = "qubeward"
_VARIABLE = "_QUBEWARD_COMPLETE"


@click.command(
    epilog=examples(
        'eval "$(qubeward completion bash)"',
        "qubeward completion zsh > ~/.zfunc/_qubeward",
        "qubeward completion fish > ~/.config/fish/completions/qubeward.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands.

    Commands, methods and properties come from the table, names of qubes, labels, tags and
    features from the daemon.
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  # click has all three
    click.echo(found(ctx.find_root().command, {}, _PROGRAM, _VARIABLE).source())
