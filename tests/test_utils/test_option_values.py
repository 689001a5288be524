"""Settings on a command line."""

from __future__ import annotations

import argparse

import pytest
from mmengine.config import DictAction

from hvs_mm.utils.option_values import OptionValues, parse_value


def parse(action, *words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=action, default={})
    return parser.parse_args(['--cfg-options', *words]).cfg_options


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        # Another folder was trained on.
        ('/my images', '/my images'),
        (' /two  blanks ', ' /two  blanks '),
        ('["/a, b", /c d]', ['/a, b', '/c d']),
        ("'/a, b'", '/a, b'),
        ("/it's", "/it's"),
        ('/odd(name', '/odd(name'),
        ('a=b', 'a=b'),
        ('', ''),
        ('none', 'none'),
    ],
)
def test_values_arrive_as_given(text, value):
    assert parse(OptionValues, f'key={text}') == {'key': value}


@pytest.mark.parametrize(
    'text',
    [
        '1', '-1', '1e-3', 'inf', 'true', 'False', 'None', 'text', '1,2', '[1,2]', '(1,2)', '[1]',
        '[(1,2),[a,None]]', '[[1],[]]', '[]', '()', "'[2]'", '[0.5,true,x]', '1,', '/a/b.c-d',
    ],
)  # fmt: skip
def test_as_mmengine_without_blanks(text):
    assert repr(parse_value(text)) == repr(parse(DictAction, f'key={text}')['key'])


def test_several_options():
    assert parse(OptionValues, 'a.b=1', 'c=x y') == {'a.b': 1, 'c': 'x y'}


@pytest.mark.parametrize(
    ('word', 'said'),
    [
        ('key', "--cfg-options 'key': expected KEY=VALUE"),
        ('=1', "--cfg-options '=1': expected KEY=VALUE"),
        ('key=[1,(2]', "--cfg-options key=...: a bracket in '1,(2' has no partner."),
    ],
)
def test_no_settings(capsys, word, said):
    with pytest.raises(SystemExit):
        parse(OptionValues, word)
    assert said in capsys.readouterr().err
