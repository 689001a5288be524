"""Read a config that MMEngine dumped, without running it."""

from __future__ import annotations

import ast
from typing import Any


def parse_config(text: str) -> dict[str, Any]:
    """The settings in the text of a dumped config.

    MMEngine writes into work dirs and checkpoints one assignment per setting, of literals and calls
    of ``dict``. The text is parsed, never executed: anything else, such as an arithmetic expression
    of a config written by hand, stays the text that it is.

    Raises:
        ValueError: If the text is no Python, for example because it was cut off.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f'the config is no Python that MMEngine wrote: {error}') from error
    return {
        statement.targets[0].id: _value(statement.value)
        for statement in body
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
    }


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_key(key): _value(value) for key, value in zip(keys, values) if key}
        case ast.Call(func=ast.Name(id='dict'), args=args, keywords=keywords):
            # dict({'not-a-name': 1}) or dict(name=1)
            parts = [_value(argument) for argument in args]
            parts.append({word.arg: _value(word.value) for word in keywords if word.arg})
            if all(isinstance(part, dict) for part in parts):
                return {key: value for part in parts for key, value in part.items()}
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node)


def _key(node: ast.expr) -> Any:
    value = _value(node)
    return value if isinstance(value, (str, int, float)) else ast.unparse(node)
