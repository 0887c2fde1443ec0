"""The one kind of error that a user is meant to read."""

from __future__ import annotations

import atexit
import difflib
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import TextIO, cast

from vtclip.interruption import Interrupted, ended_by_signals
from vtclip.standard_streams import NO_ROOM, lasting_streams, let_streams_last
from vtclip.threads import let_waiting_threads_sleep


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
    """Return the error for `name` that is none of the `known` ones, with the nearest of them.

    >>> print(unknown_name("--classes", "nobody", ["cat", "dog"]))
    --classes: unknown name 'nobody'. Known: cat, dog.
    """
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


class _End:
    """The end of a command line of another project (see :func:`end_as_a_command_does`)."""

    def __init__(self) -> None:
        self._shown_before = sys.excepthook
        self._output = let_streams_last()
        self._is_told = False

    def show(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """Show an error that nothing caught."""
        if isinstance(error, Interrupted):
            print(error, file=sys.stderr)
            sys.exit(error.exit_code)
        told = as_user_error(error)
        if told is None:
            self._shown_before(kind, error, trace)
            return
        self._is_told = True
        # the code of an uncaught error would be 1
        sys.exit(_tell(told))

    def close_output(self) -> None:
        """Write what is buffered; say so where a full disk has no room for it."""
        if self._output is None:
            return
        lost: OSError | None = None
        try:
            sys.stdout.flush()
        except OSError as error:
            lost = error
            # what a log has buffered would fail once more, without anybody to catch it
            with suppress(OSError):
                sys.stdout.close()
            sys.stdout = cast(TextIO, self._output)
        self._output.flush()
        lost = lost or self._output.lost
        told = None if lost is None or self._is_told else as_user_error(lost)
        if told is not None:
            code = _tell(told)
            sys.stderr.flush()
            # whatever an exit handler raises, the interpreter keeps the code that it had
            os._exit(code)


def end_as_a_command_does() -> None:
    """Let the command line of another project end as one in :func:`run_command` does.

    A :class:`UserError` that nothing catches and a full disk are one line and exit code 2, a run
    that a signal ended is one line, and output that is closed or that nobody reads ends nothing.
    Every other error is shown as before.
    """
    if isinstance(getattr(sys.excepthook, "__self__", None), _End):
        return
    end = _End()
    sys.excepthook = end.show
    atexit.register(end.close_output)


def run_command(main: Callable[[], int | None]) -> int:
    """Run the body of a command line and return its exit code.

    Where the output is closed or its reader has gone (`| head`), the command does its work all the
    same.

    Returns:
        What `main` returns (0 for None); 2 for a :class:`UserError`, a full disk, and a path that
        the system does not let this user reach; 128 and its number for a signal (Ctrl-C: 130,
        `kill`: 143).
    """
    let_waiting_threads_sleep()
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
