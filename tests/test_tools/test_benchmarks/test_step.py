"""``tools/benchmarks/step.py``; no test looks at a clock."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from tests.helpers.tools import ROOT, load_tool

DEMO = ROOT / 'configs' / 'demo'
SMALL = ['--batch-size', '2', '--repeats', '1', '--device', 'cpu']

pytestmark = pytest.mark.usefixtures('own_folder')


@pytest.fixture(autouse=True)
def _same_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_tables_and_numbers(capsys):
    configs = [str(DEMO / 'hvs_simsiam.py'), str(DEMO / 'hvs_ibot.py')]
    load_tool('benchmarks/step').main([*configs, *SMALL, '--json', 'cost.json'])
    printed = capsys.readouterr().out
    for line in ('ratio HVS / vanilla', 'counted floor', 'pick', 'peak memory', 'hvs_ibot.py'):
        assert line in printed
    content = json.loads(Path('cost.json').read_text())
    assert content['settings']['batch_size'] == 2
    assert content['settings']['dtype'] == 'fp32'
    assert list(content['configs']) == configs
    simsiam, ibot = content['configs'].values()
    # 4 candidates forward, 2 views forward and backward, the images without a gradient.
    assert 1.66 < simsiam['counted_floor'] < 1.75
    # The neck of the demo has BatchNorm: its teacher runs again.
    assert ibot['reused']['median'] == 0
    for cost in (simsiam, ibot):
        assert 0 < cost['vanilla']['low'] <= cost['vanilla']['median'] <= cost['vanilla']['high']
        assert cost['vanilla_memory'] > 0


@pytest.mark.parametrize(
    'option',
    [
        '--channels-last',
        '--dtype=bf16',
        '--fused',
        pytest.param('--compile', marks=pytest.mark.slow),
    ],
)
def test_options(option, capsys, monkeypatch):
    module = load_tool('benchmarks/step')
    seen = []
    measure_step = module.measure_step
    monkeypatch.setattr(
        module,
        'measure_step',
        lambda steps, *args, **kw: seen.append(steps) or measure_step(steps, *args, **kw),
    )
    if option == '--compile':
        # Compiled for real, but not into machine code, which takes minutes.
        monkeypatch.setattr(module.torch, 'compile', partial(torch.compile, backend='aot_eager'))
        counters.clear()
    arguments = [str(DEMO / 'hvs_simsiam.py'), *SMALL, '--no-memory', option]
    if option == '--fused':
        arguments += ['--cfg-options', 'optim_wrapper.optimizer.type=SGD']
    module.main(arguments)
    (steps,) = seen
    if option == '--channels-last':
        view = steps.draw(None).views[0]
        assert view.is_contiguous(memory_format=torch.channels_last)
        weight = steps.algorithm.backbone.layer1[0].conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
    elif option == '--dtype=bf16':
        with steps.autocast():
            assert torch.is_autocast_enabled('cpu')
    elif option == '--fused':
        assert steps.optim_wrapper.optimizer.defaults['fused'] is True
    else:
        assert counters['stats']['unique_graphs'] > 3


def test_optimizers_of_mmpretrain(capsys):
    """LARS, which MMEngine alone does not know."""
    small = Path('small.py')
    small.write_text(
        f"_base_ = '{DEMO / 'hvs_simsiam.py'}'\n"
        "optim_wrapper = dict(optimizer=dict(_delete_=True, type='LARS', lr=0.1))\n"
    )
    main = load_tool('benchmarks/step').main
    main([str(small), *SMALL, '--no-memory'])
    assert 'HVS step' in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r'the optimizer LARS of .*small\.py has no fused form'):
        main([str(small), *SMALL, '--no-memory', '--fused'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.py'], "config 'none.py' does not exist"),
        ([str(DEMO / 'simsiam.py')], 'selects no views: name a config with'),
        (
            [str(DEMO / 'hvs_simsiam.py'), '--cfg-options', 'model.selection_pass.scale=7'],
            'selection_pass.scale=7 must be above 0',
        ),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(SystemExit, match=message):
        load_tool('benchmarks/step').main([*arguments, *SMALL])


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit, match='torch sees no GPU'):
        load_tool('benchmarks/step').main([str(DEMO / 'hvs_simsiam.py'), '--device=cuda'])


def test_counts_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        load_tool('benchmarks/step').main([str(DEMO / 'hvs_simsiam.py'), '--repeats', '0'])
    assert "'0' must be a whole number, at least 1" in capsys.readouterr().err
