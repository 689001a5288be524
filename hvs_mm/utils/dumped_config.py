"""Read a config that MMEngine dumped, without running it."""

from __future__ import annotations

import ast
from typing import Any


def parse_config(text: str) -> dict[str, Any]:
    """The settings in the text of a dumped config.

    MMEngine writes into work dirs and checkpoints one assignment per setting, of literals and calls
    of ``dict``. The text is parsed, never executed: anything else, such as an arithmetic expression
    of a config written by hand, stays the text that it is.

    Args:
        text: Python source as ``Config.pretty_text`` gives it.

    Returns:
        A dict of the settings; of two assignments to the same name the last one.

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
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_key(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        # dict({'not-a-name': 1}) or dict(name=1)
        positional = [_value(argument) for argument in node.args]
        if all(isinstance(value, dict) for value in positional):
            named = {word.arg: _value(word.value) for word in node.keywords if word.arg}
            return {key: item for value in positional for key, item in value.items()} | named
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node)


def _key(node: ast.expr) -> Any:
    value = _value(node)
    return value if isinstance(value, (str, int, float)) else ast.unparse(node)
