"""``tools/benchmarks/communication.py`` against formulas and counts by hand."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from hvs_mm.engine import CPUDistributedDataParallel
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import BATCH_NORM, GROUP_NORM, build_hvs, random_views
from tests.helpers.tiny_dino import PROTOTYPES, build_hvs_dino, candidate_crops, random_samples
from tests.helpers.tools import ROOT, load_tool

traffic_module = load_tool('benchmarks/_traffic')
Batch, Collective = traffic_module.Batch, traffic_module.Collective
CollectiveCounter = traffic_module.CollectiveCounter
count_step, formula = traffic_module.count_step, traffic_module.formula
DEMO = ROOT / 'configs' / 'demo'
#: Images of a process, views that SimCLR selects from, channels of its embedding.
BATCH, VIEWS, CHANNELS = 3, 4, 16
#: Bytes to select and for the method's own loss, by hand.
BY_HAND = {
    'SimSiam': (0, 0),
    'BYOL': (0, 0),
    'SimCLR': (4 * BATCH * VIEWS * CHANNELS, 4 * BATCH * 2 * CHANNELS),
    'MoCoV3': (4 * BATCH * VIEWS * CHANNELS, 4 * BATCH * 2 * CHANNELS),
    'BarlowTwins': (4 * BATCH * VIEWS * CHANNELS, 4 * CHANNELS**2),
    'SwAV': (4 * VIEWS, 4 * 2),
    'DINO': (0, 4 * (PROTOTYPES + 1)),
    'IBOT': (0, 2 * 4 * (PROTOTYPES + 1)),
    'DINOv2': (8 + 2 * 4 * (3 * PROTOTYPES + 1),) * 2,
}


def model_and_batch(name, norm):
    if name in ('DINO', 'IBOT', 'DINOv2'):
        views = candidate_crops((2, 2, 4), BATCH)
        return build_hvs_dino(name), Batch(views, random_samples(BATCH, 4))
    return build_hvs(name, norm), Batch(random_views(VIEWS, BATCH), random_samples(BATCH, VIEWS))


def wrap(model):
    return CPUDistributedDataParallel(model, broadcast_buffers=False)


def count_on_a_rank(rank, folder):
    found = {}
    for name in BY_HAND:
        model, batch = model_and_batch(name, GROUP_NORM)
        found[name] = count_step(model, wrap, batch), formula(model, BATCH)
    model, batch = model_and_batch('SimSiam', BATCH_NORM)
    widths = [m.num_features for m in model.modules() if isinstance(m, nn.SyncBatchNorm)]
    found['norms'] = count_step(model, wrap, batch), widths
    torch.save(found, f'{folder}/{rank}.pt')


@pytest.fixture(scope='module')
def counted(tmp_path_factory):
    folder = tmp_path_factory.mktemp('processes')
    run_ranks(count_on_a_rank, 2, folder, str(folder))
    return [torch.load(folder / f'{rank}.pt', weights_only=False) for rank in range(2)]


def total(found):
    return sum(collective.size for collective in found)


@pytest.mark.parametrize('name', BY_HAND)
def test_formula_is_what_is_counted(counted, name):
    for rank in counted:
        traffic, expected = rank[name]
        assert traffic['selection'] == expected['selection']
        assert traffic['loss'] == expected['loss']
        assert (total(traffic['selection']), total(traffic['loss'])) == BY_HAND[name]
        # Cut into buckets.
        assert {collective.kind for collective in traffic['gradients']} == {'all_reduce'}
        assert total(traffic['gradients']) == total(expected['gradients']) > 50_000
        assert traffic['selection_norms'] == traffic['loss_norms'] == []


def test_synchronized_norms_are_counted_by_their_calls(counted):
    """Each once over all candidates to select, and once for either of the two kept views."""
    traffic, widths = counted[0]['norms']
    assert len(widths) == 23
    gathered, summed = sum(4 * (2 * width + 1) for width in widths), sum(8 * w for w in widths)
    assert total(traffic['selection_norms']) == gathered
    assert total(traffic['loss_norms']) == 2 * (gathered + summed)
    # They take part in no collective here.
    assert traffic['selection'] == traffic['loss'] == []


def test_one_process_sends_nothing():
    model, batch = model_and_batch('SimCLR', GROUP_NORM)
    traffic = count_step(model, lambda model: model, batch)
    assert traffic['selection'] == traffic['loss'] == traffic['gradients'] == []


def test_what_is_sent_in_a_ring():
    # Three others get the own part; of a sum, each of 4 parts goes round twice but for one stop.
    assert Collective('all_gather', 100).sent(4) == 300
    assert Collective('all_reduce', 100).sent(4) == 150
    assert Collective('all_reduce', 100).sent(1) == 0
    with pytest.raises(ValueError, match='broadcast'):
        Collective('broadcast', 100).sent(4)


def _unknown_collective(rank):
    with CollectiveCounter(), pytest.raises(ValueError, match="collective 'barrier' is none"):
        torch.distributed.barrier()


def test_a_collective_that_is_not_counted(tmp_path):
    run_ranks(_unknown_collective, 1, tmp_path)


def test_the_tool(capsys):
    main = load_tool('benchmarks/communication').main
    main([str(DEMO / 'hvs_dino.py'), '--processes', '1', '2'])
    output = capsys.readouterr().out
    rows = [re.split(r'\s*[│┃]\s*', line)[1:-1] for line in output.splitlines()]
    rows = [row for row in rows if len(row) == 10]
    one = next(row for row in rows if row[0] == '1')
    assert one[2:] == ['0'] * 8
    two = next(row for row in rows if row[0] == '2')
    # To select, the loss, gradients: counted, and by formula.
    assert two[2] == two[3] == '0'
    assert two[4] == two[5] == '1,028 (2)'
    assert two[6].split()[0] == two[7].split()[0]
    assert any(row[0] == '64' and row[5] == '1,028 (2)' for row in rows)
    # Sent in a ring of 64.
    assert any(row[5] == f'{round(2 * 63 / 64 * 1024) + round(2 * 63 / 64 * 4):,}' for row in rows)


def test_the_tool_refuses_a_baseline():
    with pytest.raises(SystemExit, match='builds a SimSiam, which selects no views'):
        load_tool('benchmarks/communication').main([str(DEMO / 'simsiam.py')])


def test_numbers_of_processes_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        load_tool('benchmarks/communication').main([str(DEMO / 'hvs_dino.py'), '--processes', '0'])
    assert "'0' must be a whole number, at least 1" in capsys.readouterr().err
