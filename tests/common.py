"""What several test files use."""

from archsearch import Space, cli
from archsearch.trial import Architecture


class Tree(Space):
    """Conditional: the first decision says which others follow; "size" has 2 or 4 options."""

    def __init__(self) -> None:
        super().__init__(max_length=3, max_options=4)

    def arity(self, prefix: Architecture) -> int:
        if not prefix:
            return 3
        following = ((), (2, 3), (4,))[prefix[0]]
        return following[len(prefix) - 1] if len(prefix) <= len(following) else 0

    def label(self, prefix: Architecture) -> str:
        return ("kind", "size", "shape")[len(prefix)]


def run_command(capsys, *arguments):
    """Exit status, standard output and standard error of a command."""
    try:
        status = cli.main(arguments)
    except SystemExit as error:  # the option parser's own errors
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err
