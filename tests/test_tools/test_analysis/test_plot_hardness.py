"""``tools/analysis/plot_hardness.py``."""

from __future__ import annotations

import json

import pytest
from matplotlib import image

from tests.helpers.tools import load_tool

pytestmark = pytest.mark.usefixtures('own_folder')


def write(path, config, hardness):
    names = ['as configured', *hardness]
    rows = [
        {'selector': name, 'hardness': hardness.get(name, 9.0), 'hardness_error': 0.1}
        for name in names
    ]
    with open(path, 'w') as file:
        json.dump({'config': f'configs/{config}.py', 'selectors': rows}, file)


def test_a_dot_for_each_checkpoint():
    tool = load_tool('analysis/plot_hardness')
    write('a.json', 'hvs_simsiam', {'random': 0.0, 'hardest': 1.0})
    write('b.json', 'hvs_dino', {'hardest': 1.0, 'per_group': 0.5, 'random': 0.0})
    (axes,) = tool.draw([tool.read_rows('a.json'), tool.read_rows('b.json')]).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ['hardest', 'per_group', 'random']
    # Position and hardness of the dots, by the row that they are nearest to.
    dots = [
        {names[round(y)]: x for x, y in zip(*container.lines[0].get_data())}
        for container in axes.containers
    ]
    assert dots == [
        {'random': 0.0, 'hardest': 1.0},
        {'hardest': 1.0, 'per_group': 0.5, 'random': 0.0},
    ]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ['hvs_simsiam', 'hvs_dino']
    tool.main(['a.json', 'b.json', '--out', 'plot.png'])
    assert image.imread('plot.png').std() > 0


@pytest.mark.parametrize('content', [None, 'text', '{}', '{"config": "x", "selectors": [1]}'])
def test_another_file_is_one_line(content):
    if content is not None:
        with open('other.json', 'w') as file:
            file.write(content)
    with pytest.raises(SystemExit, match=r'^error: other\.json: .*selection_agreement') as stop:
        load_tool('analysis/plot_hardness').main(['other.json'])
    assert '\n' not in stop.value.code
