"""What every command owes a person who gave it something wrong."""

from __future__ import annotations

from node import CommandResult


def require_sentence(result: CommandResult, *words: str) -> None:
    """Exit 2, nothing on standard output, and one sentence on standard error that holds ``words``."""
    assert (result.status, result.output) == (2, ""), result
    assert result.errors.startswith("prognode: "), result.errors
    assert result.errors.count("\n") == 1, result.errors
    for word in words:
        assert str(word) in result.errors, result.errors
