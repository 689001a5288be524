"""Run parts one after another within a time, whatever becomes of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

#: A part that takes this many times as long as expected hangs, but not before so many seconds, in
#: which a process also imports the package.
PATIENCE, LEAST = 4, 90.0
STATUSES = ('measured', 'failed', 'not run', 'left out')


class Part(NamedTuple):
    """A piece of work that gives one row.

    Attributes:
        name: Of the row.
        kind: Which table of the page it belongs to.
        function: Called in the worker; gives the numbers. Importable by its name.
        seconds: About how long it takes on a GPU.
        arguments: Its keyword arguments.
    """

    name: str
    kind: str
    function: Callable[..., dict[str, Any]]
    seconds: float
    arguments: dict[str, Any]


#: Calls a function with keyword arguments, for so many seconds at most, and returns ``status``,
#: ``reason`` and ``result``; ``status`` is ``'stopped'`` if the time was too short.
Run = Callable[[Callable[..., Any], dict[str, Any], float], dict[str, Any]]


def run_plan(
    parts: Sequence[Part],
    run: Run,
    seconds: float,
    save: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
    tell: Callable[[str], None] = lambda line: None,
    now: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Run parts in their order as long as there is time for them.

    Args:
        parts: The most telling ones first.
        run: Runs a part; it raises nothing.
        seconds: How long all may take together. A part that is expected to take longer than what
            is left is left out, and shorter ones after it are tried. After an interrupt from the
            keyboard the rest is left out.
        save: Called with the rows after every part.
        tell: Called with a line about every part.
        now: A clock, in seconds.

    Returns:
        For every part a row: ``name``, ``kind``, ``status`` (one of :data:`STATUSES`), ``reason``
        in one line or ``None``, ``seconds`` it took, and ``result``, its numbers or ``None``.
    """
    end, rows, interrupted = now() + seconds, list[dict[str, Any]](), False
    for part in parts:
        start = now()
        if interrupted:
            outcome = _left_out('interrupted')
        else:
            try:
                outcome = _attempt(part, run, end - start)
            except KeyboardInterrupt:
                interrupted, outcome = True, _left_out('interrupted')
        row = {'name': part.name, 'kind': part.kind, **outcome, 'seconds': now() - start}
        rows.append(row)
        reason = f': {row["reason"]}' if row['reason'] else ''
        tell(f'{row["seconds"]:5.0f} s  {part.name}: {row["status"]}{reason}')
        save(rows)
    return rows


def _attempt(part: Part, run: Run, left: float) -> dict[str, Any]:
    if part.seconds > left:
        return _left_out(f'takes about {part.seconds:.0f} s, {max(left, 0):.0f} s were left')
    limit = min(left, max(PATIENCE * part.seconds, LEAST))
    outcome = run(part.function, part.arguments, limit)
    if outcome['status'] != 'stopped':
        return outcome
    if limit == left:
        return _left_out(f'stopped after {limit:.0f} s, when the time was over')
    reason = f'stopped after {limit:.0f} s, about {part.seconds:.0f} s were expected'
    return {**outcome, 'status': 'failed', 'reason': reason}


def _left_out(reason: str) -> dict[str, Any]:
    return {'status': 'left out', 'reason': reason, 'result': None}
