"""Kinds of settings, and what is said of those that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from hvs_study.schema import NAME, NUMBER, OPTIONS, TEXT, StudyError, check, one_of, whole

KIND = {'name': NAME, 'parts?': [{'size': whole(1, 9)}], 'more?': {'x?': NUMBER, NAME: TEXT}}


@pytest.mark.parametrize(
    'value',
    [
        {'name': 'a_1.x'},
        {'name': 'a', 'parts': ({'size': 1}, {'size': 9})},
        {'name': 'a', 'more': {}},
        {'name': 'a', 'more': {'x': 0.5, 'y': 'text'}},
    ],
)
def test_what_fits(value):
    check('', value, KIND)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (3, '=3: expected a dict, see docs/studies.md.'),
        ({}, 'name is missing; docs/studies.md shows it.'),
        ({'nam': 'a'}, "nam='a': there is no such setting; did you mean 'name'?"),
        (
            {'name': 'a', 3: 1},
            "3=1: there is no such setting; expected one of ['name', 'parts', 'more'].",
        ),
        ({'name': 'a', 'parts': []}, 'parts=[]: expected a list that is not empty.'),
        ({'name': 'a', 'parts': [{'size': 1}, 2]}, 'parts.1=2: expected a dict, see docs'),
        ({'name': 'a', 'parts': [{}]}, 'parts.0.size is missing; docs/studies.md shows it.'),
        (
            {'name': 'a', 'parts': [{'size': True}]},
            'parts.0.size=True: expected a whole number, at least 1 and at most 9.',
        ),
        ({'name': 'a', 'more': {'x': True}}, 'more.x=True: expected a number.'),
        ({'name': 'a', 'more': {'y': 1}}, 'more.y=1: expected a text.'),
        ({'name': 'a', 'more': {'/': 'text'}}, "more='/': expected letters, digits"),
    ],
)
def test_what_does_not_fit(value, message):
    with pytest.raises(StudyError) as error:
        check('', value, KIND)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ('kind', 'value'),
    [
        *((NAME, name) for name in ('', '.a', '_a', 'a/b', 'a\n', 3)),
        (OPTIONS, {1: 2}),
        (OPTIONS, []),
        (one_of(['a', 'b']), []),
        (whole(0), -1),
        (whole(0), float('inf')),
        (whole(0), 1.0),
    ],
)
def test_single_values_that_do_not_fit(kind: Any, value: Any):
    with pytest.raises(StudyError, match='expected'):
        check('x', value, kind)
