"""Small text files, one record a line."""

from __future__ import annotations

from pathlib import Path

from vtclip.errors import UserError
from vtclip.files import require_file


def read_lines(path: Path, remedy: str) -> list[str]:
    """Return the lines of a UTF-8 file without the empty ones and spaces around them.

    A byte order mark is left out.

    Args:
        path: the file.
        remedy: what to do where it is missing, for the message.

    Raises:
        UserError: it is missing, not text, or empty.
    """
    try:
        require_file(path)
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {remedy}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{path}: is empty; {remedy}.")
    return lines
