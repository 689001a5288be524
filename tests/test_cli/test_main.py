"""The console command, before a subcommand runs."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from importlib import import_module

import pytest

from hvs_mm.recipes import METHODS, NETWORKS
from hvs_mm_cli import train
from hvs_mm_cli.main import COMMANDS, main


def test_names_of_methods_and_models():
    assert set(METHODS) == set(train.METHODS)
    assert tuple(NETWORKS) == train.MODELS


def test_help_imports_nothing_heavy():
    code = (
        'import sys; from hvs_mm_cli.main import main\n'
        'try: main(["train", "--help"])\n'
        'finally: print(sorted({"torch", "mmengine", "hvs_mm"} & set(sys.modules)))'
    )
    shown = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert '--no-hard-views' in shown.stdout
    assert shown.stdout.endswith('[]\n')


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_is_there(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, '--help'])
    assert not stop.value.code
    assert f'usage: hvs-mm {name}' in capsys.readouterr().out


def test_no_command_shows_all(capsys):
    with pytest.raises(SystemExit):
        main([])
    shown = capsys.readouterr().out
    assert all(f'  {name} ' in shown for name in COMMANDS)


def test_version(capsys):
    main(['--version'])
    assert capsys.readouterr().out.startswith('hvs-mm ')


@pytest.mark.parametrize(('argv', 'text'), [
    (['trian'], "unknown command 'trian': did you mean 'train'?"),
    (['train', '--out', 'x', '--metod', 'dino'], '--metod dino: did you mean --method?'),
    (['train'], 'the following arguments are required: --out'),
    (['train', '--out', 'x', '--epochs', 'many'], "argument --epochs: invalid int value: 'many'"),
])  # fmt: skip
def test_mistakes_are_one_line(capsys, argv, text):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    shown = stop.value.code if isinstance(stop.value.code, str) else capsys.readouterr().err
    assert text in shown
    assert shown.strip().count('\n') == 0


def test_options_have_help():
    for name in COMMANDS:
        parser = ArgumentParser()
        module = import_module(f'hvs_mm_cli.{"evaluate" if name == "eval" else name}')
        module.add_arguments(parser)
        assert all(action.help for action in parser._actions), name
