"""Every block of ``docs/evaluate_and_export.md`` runs as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import torch
from PIL import Image

import hvs_mm
from hvs_mm_cli.main import main

PAGE = Path(__file__).parents[2] / 'docs' / 'evaluate_and_export.md'


def blocks() -> list[tuple[str, str]]:
    """Language and text of the blocks in order."""
    return re.findall(r'^```(\w+)\n(.*?)^```', PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_blocks(trained, class_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(class_images, 'images')
    shutil.copytree(trained('small_resnet'), 'runs/first')
    shutil.copytree(trained('dino'), 'runs/second')
    names = {}
    for language, text in blocks():
        if language == 'python':
            exec(text, names)
            continue
        for line in text.splitlines():
            command, *arguments = shlex.split(line)
            assert command == 'hvs-mm'
            # The runs are here already.
            if arguments[0] != 'train':
                main(arguments)
    shown = capsys.readouterr().out
    assert 'timm.create_model' in shown
    assert Path('report.html').is_file()
    assert names['features'].shape == (48, 512)
    # The transforms of the page prepare images as the run does.
    image = Image.open(class_images / 'val' / 'red' / '0.png').convert('RGB')
    model = {'images': names['transform'](image)[None]}
    with torch.no_grad():
        exec(shown[shown.index('import timm') : shown.index('features = model(images)')], model)
        found = model['model'](model['images'])[0]
    position = names['embedding'].files.index('val/red/0.png')
    expected = torch.from_numpy(names['embedding'].features[position])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_arguments_are_the_options():
    from inspect import signature

    from hvs_mm_cli import embed, evaluate, export
    from hvs_mm_cli.main import OneLineParser

    for command, function in (
        (embed, hvs_mm.embed),
        (evaluate, hvs_mm.evaluate),
        (export, hvs_mm.export),
    ):
        parser = OneLineParser()
        command.add_arguments(parser)
        defaults = {action.dest: action.default for action in parser._actions[1:]}
        parameters = signature(function).parameters
        assert defaults.keys() == parameters.keys()
        for name, parameter in parameters.items():
            if parameter.default is not parameter.empty:
                assert defaults[name] == parameter.default, name


def test_formats_of_the_command():
    from hvs_mm.runs import exporting
    from hvs_mm_cli import export

    assert tuple(exporting.FORMATS) == export.FORMATS
