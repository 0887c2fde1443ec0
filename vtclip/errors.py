"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from types import TracebackType

from vtclip.interruption import Interrupted, ended_by_signals
from vtclip.standard_streams import lasting_streams


class UserError(Exception):
    """Bad input. The message is one line: the file or key, what is wrong, what to do.

    Command lines print it without a traceback and exit with code 2 (see :func:`run_command`).
    """

    def __init__(self, message: str) -> None:
        # halves of surrogate pairs, of names that are not UTF-8, would stop the printing
        printable = message.encode(errors="backslashreplace").decode()
        super().__init__(" ".join(printable.split()))


def shortened(text: str, longest: int = 80) -> str:
    """Return a text as it may stand in a message, cut where it is longer than `longest`.

    >>> shortened("abcdefgh", 6)
    'abc...'
    """
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for `name` that is none of the `known` ones, with the nearest of them."""
    names = sorted(known)
    by_folded = {n.casefold(): n for n in names}
    nearest = difflib.get_close_matches(name[:80].casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"; did you mean {by_folded[nearest[0]]}?" if nearest else ""
    return UserError(
        f"{kind}: unknown name {shortened(name)!r}{hint} Known: {', '.join(names) or 'none'}."
    )


def show_user_errors_in_one_line() -> None:
    """Make command lines of other projects end with the line of a :class:`UserError`, exit code 2.

    Every other error is shown as before.
    """
    shown_before = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not isinstance(error, UserError):
            shown_before(kind, error, trace)
            return
        print(f"error: {error}", file=sys.stderr)
        # the code of an uncaught error would be 1
        sys.exit(2)

    sys.excepthook = show


def run_command(main: Callable[[], int | None]) -> int:
    """Run the body of a command line and return its exit code.

    Where the output is closed or its reader has gone (`| head`), the command does its work all the
    same.

    Returns:
        What `main` returns (0 for None), 2 for a :class:`UserError` and for a path that the system
        does not let this user reach, 128 and its number for a
        signal (Ctrl-C: 130, `kill`: 143).
    """
    with lasting_streams():
        try:
            with ended_by_signals():
                return main() or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except PermissionError as error:
            # any look at a path in a folder that this user may not enter
            if error.filename is None:
                raise
            refused = UserError(f"{error.filename}: cannot be read or written ({error.strerror}).")
            print(f"error: {refused}", file=sys.stderr)
            return 2
        except KeyboardInterrupt as error:
            interrupted = error if isinstance(error, Interrupted) else Interrupted()
            print(interrupted, file=sys.stderr)
            return interrupted.exit_code
