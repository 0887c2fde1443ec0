"""Files that are either whole or absent, and digests of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import reprlib
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vtclip.errors import UserError, shortened
from vtclip.interruption import put_off


def user_path(text: str, name: str) -> Path:
    """Return the path that a user named, with ~ as the home folder; nothing need be there.

    Args:
        text: the path.
        name: of the argument or key, for messages.

    Raises:
        UserError: no file can have that path.
    """
    shown = shortened(text)
    try:
        text.encode()
        path = Path(text).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except OSError as error:
        raise UserError(f"{name}: {shown!r} cannot be a path ({error.strerror}).") from None
    except (ValueError, RuntimeError) as error:  # NUL or not UTF-8; no such user after ~
        raise UserError(f"{name}: {shown!r} cannot be a path ({error}).") from None
    return path


def printable(path: str | Path) -> str:
    """Return `path` as text that can be written as UTF-8; other bytes are shown as \\xNN."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


# of a file that a killed process had not finished
TEMPORARY = ".tmp"


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` that takes its name when the block ends well.

    A reader sees the old file or the new one, never a part; a failure leaves nothing behind, and
    a signal waits until the file is there.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    with put_off(), _renamed_at_the_end(target) as temporary:
        yield temporary


def require_file(path: Path) -> os.stat_result:
    """Check that `path` is a regular file, since opening a pipe or a device may never end.

    Returns:
        What the system knows about it.

    Raises:
        UserError: it is something else.
        OSError: it is missing.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: a pipe or device and no file.")
    return found


@contextmanager
def _renamed_at_the_end(target: Path) -> Iterator[Path]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(TEMPORARY, f".{target.name}.", target.parent)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}).") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files that only their owner can read
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error}).") from error
    finally:
        temporary.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Give a file the first free name of NAME.set-aside-1, -2 ..., and return it.

    Raises:
        OSError: it cannot be renamed.
    """
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.set-aside-{number}")):
        number += 1
    path.rename(aside)
    return aside


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: the file is missing, unreadable, no regular file, not JSON or nested too deeply,
            has a number with too many digits, or has a key twice in one object.
    """
    try:
        require_file(path)
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_object_without_repeats)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read, not UTF-8 ({error}).") from error
    except RecursionError:
        raise UserError(f"{path}: not JSON that can be read (nested too deeply).") from None
    except ValueError as error:  # a syntax error, a key twice, or the limit on digits of int()
        raise UserError(f"{path}: not JSON ({error}); fetch or write it anew.") from error


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {reprlib.repr(repeated)} is there twice in one object")
    return found


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
