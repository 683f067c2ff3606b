"""cases(): a table of cases that is one test."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import pyuvnet

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


def cases(names: str | Iterable[str], table: Iterable[Any]) -> Callable[..., Callable[..., None]]:
    """Like pytest.mark.parametrize(names, table), but the whole table is one test.

    For cases that need nothing fresh. Every case runs, and the failure names those that failed.
    Fixtures are shared by the cases, except the loop: each case must leave it empty, and after one
    that failed the next gets another loop.
    """
    names = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    table = list(table)
    # As with parametrize, one name takes the entry as it is.
    rows = [tuple(entry) if len(names) > 1 else (entry,) for entry in table]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            assert rows, "the table is empty"
            failed: list[BaseException] = []
            for row in rows:
                values = dict(zip(names, row, strict=True))
                try:
                    test(**values, **fixtures)
                    loop = pyuvnet.current_loop()
                    assert not loop.alive(), "the case left something that keeps the loop alive"
                    assert loop.handle_count() == 0, "the case left handles open"
                except (Exception, BaseExceptionGroup, pytest.fail.Exception) as error:
                    shown = ", ".join(
                        f"{name}={_SHORT.repr(value)}" for name, value in values.items()
                    )
                    error.add_note(f"in the case {shown}")
                    failed.append(error)
                    pyuvnet.current_loop().close()
            if len(failed) == 1:
                raise failed[0]
            if failed:
                raise BaseExceptionGroup(f"{len(failed)} of {len(rows)} cases failed", failed)

        taken = inspect.signature(test)
        left = [each for name, each in taken.parameters.items() if name not in names]
        run.__signature__ = taken.replace(parameters=left)  # type: ignore[attr-defined]
        return run

    return decorate
