"""``tools/benchmarks/throughput.py`` against numbers by hand, and its page."""

from __future__ import annotations

import json
import re
import shlex
from math import inf
from pathlib import Path

import pytest
import torch

from tests.helpers.tools import ROOT, load_tool

tool = load_tool('benchmarks/throughput')
Collective = load_tool('benchmarks/_traffic').Collective
PAGE = ROOT / 'docs' / 'results' / 'throughput.md'
DINO = str(ROOT / 'configs' / 'hvs_dino_300e.py')

#: 100 images in a second; 4 GB of gradients, 2 GB for the loss, 1 GB gathered to select.
TRAFFIC = {
    'selection': [Collective('all_gather', 10**9)],
    'loss': [Collective('all_reduce', 2 * 10**9)],
    'gradients': [Collective('all_reduce', 4 * 10**9)],
}
STEP = tool.Step(100, 1.0, 1.5, 0.5, 100.0, TRAFFIC)
CLUSTER = tool.Cluster(gpus=2, cores=4, within=4e9, between=1e9)


def test_one_gpu_sends_nothing():
    assert tool.throughput(STEP, CLUSTER, 1) == (100, 100 / 1.5, 0, 400, 'selection')
    slow = STEP._replace(loader=10.0)
    # The step without selection is that of a loader which keeps up.
    assert tool.throughput(slow, CLUSTER, 1) == (100, 40, 0, 40, 'loader')


def test_two_gpus_of_a_machine():
    # In a ring of two each sends what it hands in: 4 GB in 1 s, half of it beside the step.
    found = tool.throughput(STEP, CLUSTER, 2)
    assert found.waiting == pytest.approx(0.5 + 0.5 + 0.25)
    assert found.plain == pytest.approx(200 / (1 + 0.5 + 0.5))
    assert found.hard == pytest.approx(200 / (1 + 0.5 + 1.25))
    assert (found.loader, found.limit) == (800, 'network')


def test_four_gpus_of_two_machines():
    # 2 * 3 / 4 of what is summed and 3 of what is gathered, at 1 GB/s.
    found = tool.throughput(STEP, CLUSTER, 4)
    assert found.waiting == pytest.approx((6 - 0.5) + 3 + 3)
    assert found.hard == pytest.approx(400 / (1.5 + 11.5))


@pytest.mark.parametrize('selection', [10**9, 0])
def test_where_each_is_the_limit(selection):
    step = STEP._replace(traffic={**TRAFFIC, 'selection': [Collective('all_gather', selection)]})
    at = tool.thresholds(step, 4)

    def found(link, step=step):
        return tool.throughput(step, CLUSTER._replace(between=link), 4)

    assert found(at['costs']).waiting == pytest.approx(0.5)
    assert found(0.99 * at['costs'])._replace(loader=inf).limit == 'network'
    assert found(1.01 * at['costs']).limit == 'selection'
    alone = step._replace(traffic={**step.traffic, 'selection': [], 'loss': []})
    assert found(at['begins'], alone).waiting == 0
    assert found(0.99 * at['begins'], alone).waiting > 0
    for factor, limit in ((0.99, 'loader'), (1.01, 'selection')):
        cluster = CLUSTER._replace(cores=factor * at['cores'])
        assert tool.throughput(step, cluster, 1).limit == limit


@pytest.fixture
def sizes_alone(monkeypatch):
    """Models without memory: the formulas read sizes, and initial weights take seconds."""
    build, built = tool.selecting_model, {}

    def on_meta(cfg):
        if cfg.filename not in built:
            with torch.device('meta'):
                built[cfg.filename] = build(cfg)
        return built[cfg.filename]

    monkeypatch.setattr(tool, 'selecting_model', on_meta)


@pytest.mark.usefixtures('sizes_alone')
def test_the_page_holds_what_the_commands_print(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r'```shell\npython (\S+throughput\.py .*?)```\n\n(.*?)\n\n[^-]', *page())
    assert len(blocks) == 3
    for command, shown in blocks:
        _, *arguments = shlex.split(command.replace('\\\n', ' '))
        tool.main(arguments)
        assert capsys.readouterr().out.strip() == shown.strip()


def page():
    return PAGE.read_text(), re.DOTALL


@pytest.mark.usefixtures('sizes_alone')
def test_numbers_of_a_gpu_check(tmp_path, capsys):
    rate, ratio = {'vanilla': 1000.0, 'hvs': 600.0}, {'median': 1.6}
    eager = {
        'config': 'hvs_dino_300e.py', 'method': 'DINO', 'compiled': False, 'selection_pass': {},
        'images_per_second': rate, 'ratio': ratio, 'batch_size': 512,
    }  # fmt: skip
    photometry = {'method': 'DINO', 'loader': {'loading': 10.0}}
    rows = [
        {'kind': 'machine', 'result': None},
        {'kind': 'step', 'result': None},
        {'kind': 'step', 'result': {**eager, 'compiled': True, 'batch_size': 1}},
        {'kind': 'step', 'result': eager},
        {'kind': 'photometry', 'result': {**photometry, 'method': 'SimSiam'}},
        {'kind': 'photometry', 'result': photometry},
    ]
    path = tmp_path / 'gpu_check.json'
    path.write_text(json.dumps({'parts': rows}))
    args = tool.parse_args([DINO, '--gpu-check', str(path), '--ratio', '2'])
    step = tool.read_step(args)
    assert step[:5] == (512, 0.512, 2, 0.5, 100)
    # The trained weights of DINO's student in float32, as docs/results/communication.md has them.
    assert step.traffic['gradients'][0].sent(64) == pytest.approx(346.6e6, rel=1e-3)
    other = str(Path(DINO).with_name('hvs_ibot_300e.py'))
    with pytest.raises(SystemExit, match=r"no eager step of hvs_ibot.*, it has \['hvs_dino"):
        tool.main([other, '--gpu-check', str(path)])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([DINO], '--images-per-second and --ratio must be given, or --gpu-check'),
        (['none.py', '--images-per-second', '1', '--ratio', '1'], "config 'none.py' does not"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(SystemExit, match=f'^error: {message}'):
        tool.main(arguments)


def test_numbers_must_be_positive(capsys):
    for value in ('0', 'nan', 'x'):
        with pytest.raises(SystemExit):
            tool.main([DINO, '--ratio', value])
        assert f"'{value}' must be a number above 0" in capsys.readouterr().err
