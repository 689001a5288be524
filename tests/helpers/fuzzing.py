"""Hypothesis in two lengths: the same few examples in every test run, or new ones for minutes."""

from __future__ import annotations

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

import hvs_mm

#: Minutes per test; without it the examples are few, and the same ones each time.
MINUTES = float(os.environ.get('HVS_FUZZ_MINUTES', 0))
PACKAGE = Path(hvs_mm.__file__).parent


def fuzz(name: str, examples: int, strategy: SearchStrategy, check: Callable[[Any], str]) -> None:
    """Run a check on examples of a strategy.

    Args:
        name: Name of the check in the report of a long run.
        examples: Number of examples in a test run.
        strategy: Gives the examples.
        check: Raises if the package is wrong about an example; otherwise returns the outcome.
    """
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        derandomize=not MINUTES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # A step of training takes long: to simplify a failing example would take minutes.
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(strategy)
    def run(example: Any) -> None:
        seen[check(example)] += 1

    started = time.monotonic()
    run()
    while time.monotonic() - started < 60 * MINUTES:
        run()
    if MINUTES:
        parts = ', '.join(f'{count} {what}' for what, count in seen.most_common())
        print(f'\nfuzzed {name}: {seen.total()} examples: {parts}')
    # A check that refuses everything, or nothing, shows little.
    assert len(seen) > 1, seen


class RefusedError(Exception):
    """The package has refused an input, with an error that it documents."""


@contextmanager
def may_refuse(*names: str) -> Iterator[None]:
    """Turn a documented error into ``RefusedError``; any other one is a bug.

    Documented are ``ValueError`` and ``TypeError`` that the package itself raises.

    Args:
        names: The message must contain one of them, if any are given.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        if not Path(where.filename).is_relative_to(PACKAGE) or 'raise' not in where.line:
            raise
        message = str(error)
        assert message
        assert not names or any(name in message for name in names), (names, message)
        raise RefusedError(message) from error
