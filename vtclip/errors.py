"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from types import TracebackType

from vtclip.interruption import Interrupted, ended_by_signals
from vtclip.standard_streams import NO_ROOM, lasting_streams


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


def reason_of(error: BaseException) -> str:
    """Return what a library says of a file, cut: some quote the bytes of the file whole."""
    return shortened(str(error), 200)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for `name` that is none of the `known` ones, with the nearest of them."""
    names = sorted(known)
    by_folded = {n.casefold(): n for n in names}
    nearest = difflib.get_close_matches(name[:80].casefold(), by_folded, n=1, cutoff=0.5)
    hint = f"; did you mean {by_folded[nearest[0]]}?" if nearest else "."
    return UserError(
        f"{kind}: unknown name {shortened(name)!r}{hint} Known: {', '.join(names) or 'none'}."
    )


def as_user_error(error: BaseException) -> UserError | None:
    """Return what a user is to read of an error: of a UserError, and of a full disk; else None.

    >>> import errno
    >>> print(as_user_error(OSError(errno.EFBIG, "File too large", "log.txt")))
    log.txt: cannot be written (File too large).
    """
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        name = error.filename or "the output"
        return UserError(f"{name}: cannot be written ({error.strerror}).")
    return error if isinstance(error, UserError) else None


def show_user_errors_in_one_line() -> None:
    """Make command lines of other projects end with the line of a :class:`UserError`, exit code 2.

    So does a full disk. Every other error is shown as before.
    """
    shown_before = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        told = as_user_error(error)
        if told is None:
            shown_before(kind, error, trace)
            return
        print(f"error: {told}", file=sys.stderr)
        # the code of an uncaught error would be 1
        sys.exit(2)

    sys.excepthook = show


def run_command(main: Callable[[], int | None]) -> int:
    """Run the body of a command line and return its exit code.

    Where the output is closed or its reader has gone (`| head`), the command does its work all the
    same.

    Returns:
        What `main` returns (0 for None); 2 for a :class:`UserError`, a full disk, and a path that
        the system does not let this user reach; 128 and its number for a signal (Ctrl-C: 130,
        `kill`: 143).
    """
    with lasting_streams() as (output, _):
        try:
            with ended_by_signals():
                code = main() or 0
            output.flush()
            if output.lost is not None:
                raise output.lost
        except UserError as error:
            return _tell(error)
        except KeyboardInterrupt as error:
            interrupted = error if isinstance(error, Interrupted) else Interrupted()
            print(interrupted, file=sys.stderr)
            return interrupted.exit_code
        except OSError as error:
            told = as_user_error(error)
            if told is None and isinstance(error, PermissionError) and error.filename is not None:
                # any look at a path in a folder that this user may not enter
                reason = f"cannot be read or written ({error.strerror})"
                told = UserError(f"{error.filename}: {reason}.")
            if told is None:
                raise
            return _tell(told)
        return code


def _tell(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2
