"""``SelectionPanelHook`` in real runs, and the examples it shows."""

from __future__ import annotations

import os
import random

import cv2
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.visualization import Visualizer
from mmpretrain.datasets import KFoldDataset
from mmpretrain.registry import DATASETS
from torch.utils.data import Subset
from torchvision.ops import box_iou

from hvs_mm.datasets import draw_examples
from hvs_mm.engine.runners.checkpoint_paths import CheckpointPaths
from hvs_mm.visualization import (
    SelectionPanelHook,
    select_examples,
    selected_examples,
    shown_pair_loss,
)
from hvs_mm.visualization.selected_examples import draw_examples_panel
from hvs_mm.visualization.selection_panel_hook import picture_name, shown_positions
from hvs_mm.weights.checkpoint_files import load_checkpoint
from tests.helpers.ranks import run_ranks
from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import GLOBAL, build_runner, crop_pipeline
from tests.test_engine.test_hooks.test_selection_stats_hook import (
    FIVE_ITERATIONS,
    batches,
    dino,
    ibot,
    random_pairs,
    simsiam,
    train,
)

HOOK = dict(type='SelectionPanelHook', interval=2, num_images=1)


def shapes(num_samples=6, split='train'):
    return DATASETS.build(shape_config(num_samples, split))


def shape_config(num_samples=6, split='train'):
    return dict(
        type='ShapesDataset',
        num_samples=num_samples,
        split=split,
        img_size=48,
        pipeline=[
            dict(type='CandidateViews', num_views=[4], transforms=[crop_pipeline(GLOBAL)]),
            dict(type='PackViews'),
        ],
    )


# --- The hook --------------------------------------------------------------------------------


def test_when_it_draws(tmp_path):
    train(tmp_path, simsiam(), [HOOK], max_epochs=3, batch_size=3)
    pictures = {path.name for path in (tmp_path / 'selection').iterdir()}
    assert pictures == {f'epoch_{epoch}.png' for epoch in (0, 2, 3)}
    first = cv2.imread(str(tmp_path / 'selection' / 'epoch_0.png'))
    assert min(first.shape[:2]) > 200
    # The same views, judged by another model.
    assert not np.array_equal(first, cv2.imread(str(tmp_path / 'selection' / 'epoch_3.png')))
    shown = {path.name for path in tmp_path.glob('*/vis_data/vis_image/*')}
    assert shown == {f'selection_panel_{epoch}.png' for epoch in (0, 2, 3)}


def test_a_work_dir_that_is_no_utf8(tmp_path, quick_pictures):
    """As every name beyond ASCII under LC_ALL=C without Python's UTF-8 mode; OpenCV crashes."""
    work_dir = tmp_path / os.fsdecode(b'l\xe4ufe')
    checkpoint = dict(type='SafeCheckpointHook', by_epoch=False, interval=3)
    train(work_dir, simsiam(), [HOOK, checkpoint], batch_size=3, max_epochs=1)
    assert (work_dir / 'selection' / 'epoch_1.png').is_file()
    assert not list(work_dir.glob('*/vis_data/vis_image/*'))
    paths = CheckpointPaths(str(work_dir), str(work_dir))
    assert paths.named_last() == work_dir / 'iter_3.pth'
    assert 'state_dict' in load_checkpoint(work_dir / 'iter_3.pth', mmap=True)


def some_pairs():
    """Draws from Python's generator."""
    return simsiam(selector=dict(type='hardest', max_comparisons=3))


def stochastic_depth():
    model = dino()
    model['algorithm']['backbone']['drop_path_rate'] = 0.5
    return model


@pytest.fixture
def quick_pictures(monkeypatch):
    """Leave out matplotlib's work, seconds of a picture; everything before it stays."""

    def blank(*args, **kwargs):
        figure = Figure(figsize=(1, 1))
        FigureCanvasAgg(figure)
        return figure

    monkeypatch.setattr(selected_examples, 'draw_selection', blank)


def test_a_run_that_counts_iterations(tmp_path, quick_pictures):
    train(tmp_path, simsiam(), [HOOK], batch_size=3, **FIVE_ITERATIONS)
    pictures = {path.name for path in (tmp_path / 'selection').iterdir()}
    assert pictures == {f'iter_{number}.png' for number in (0, 2, 4, 5)}


@pytest.mark.parametrize('model', [random_pairs, some_pairs, stochastic_depth])
def test_a_run_trains_as_without_it(tmp_path, model, quick_pictures):
    with_hook = train(tmp_path / 'with', model(), [dict(HOOK, interval=1)])
    without = train(tmp_path / 'without', model())
    expected = without.model.state_dict()
    for name, value in with_hook.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    for own, other in zip(batches(with_hook).states, batches(without).states):
        assert torch.equal(own[0], other[0])
        assert own[1:] == other[1:]


def _train_a_rank(rank, folder):
    model = dict(simsiam(), algorithm=algorithm_config('SimCLR'))
    train(
        folder / 'run',
        model,
        [HOOK],
        batch_size=3,
        num_batches=4,
        max_epochs=1,
        model_wrapper_cfg=dict(type='CPUDistributedDataParallel'),
    )


def test_a_method_with_negatives_of_all_processes(tmp_path):
    """Were one process alone to select, it would wait for the others forever."""
    run_ranks(_train_a_rank, 2, tmp_path, tmp_path)
    assert {p.name for p in (tmp_path / 'run' / 'selection').iterdir()} == {
        'epoch_0.png',
        'epoch_1.png',
    }


@pytest.mark.parametrize('name', ['interval', 'num_images'])
@pytest.mark.parametrize('value', [0, -1, 1.5, True])
def test_wrong_settings(name, value):
    with pytest.raises(ValueError, match=f'{name}=.* must be an integer of at least 1'):
        SelectionPanelHook(**{name: value})


def test_a_model_that_selects_nothing(tmp_path):
    runner = build_runner(tmp_path, algorithm_config('SimSiam'), hooks=[HOOK], num_views=[2])
    with pytest.raises(ValueError, match='SimSiam selects no views'):
        runner.train()


# --- The examples ----------------------------------------------------------------------------


def test_examples_show_what_was_cut():
    examples = draw_examples(shapes(), [4, 1])
    plain = DATASETS.build(dict(type='ShapesDataset', num_samples=6, img_size=48, pipeline=[]))
    assert [np.array_equal(im, plain[i]['img']) for im, i in zip(examples.images, [4, 1])] == [
        True,
        True,
    ]
    assert len(examples.inputs) == 4
    assert examples.inputs[0].shape == (2, 3, GLOBAL, GLOBAL)
    assert examples.boxes.shape == (2, 4, 4)
    for sample, image in enumerate(examples.images):
        for view, box in enumerate(examples.boxes[sample].round().astype(int)):
            left, top, right, bottom = box
            crop = cv2.resize(image[top:bottom, left:right], (GLOBAL, GLOBAL))
            if examples.data_samples[sample].view_flips[view, 0]:
                crop = crop[:, ::-1]
            drawn = examples.inputs[view][sample].permute(1, 2, 0).numpy()
            assert np.abs(drawn.astype(int) - crop).mean() < 12


def test_examples_are_the_same_every_time():
    dataset = shapes()
    first = draw_examples(dataset, range(3))
    np.random.rand(5)
    random.random()
    states = np.random.get_state()[1].tolist(), random.getstate(), torch.get_rng_state()
    again = draw_examples(dataset, range(3))
    assert states[:2] == (np.random.get_state()[1].tolist(), random.getstate())
    assert torch.equal(states[2], torch.get_rng_state())
    assert np.array_equal(first.boxes, again.boxes)
    assert all(torch.equal(a, b) for a, b in zip(first.inputs, again.inputs))
    assert not np.array_equal(first.boxes, draw_examples(dataset, range(3), seed=1).boxes)
    # The data set goes on as it was.
    assert len(dataset[0]['inputs']) == 4


def test_examples_of_wrapped_datasets():
    train_set, other = shapes(3), shapes(2, split='val')
    (last,) = draw_examples(train_set, [2]).images
    (first,) = draw_examples(other, [0]).images
    joined = draw_examples(ConcatDataset([train_set, other]), [2, 3]).images
    assert np.array_equal(joined, [last, first])
    repeated = draw_examples(RepeatDataset(other, times=2), [2]).images
    assert np.array_equal(repeated, [first])
    part = KFoldDataset(shape_config(6), fold=1, num_splits=3)
    (of_part,) = draw_examples(part, [0]).images
    assert np.array_equal(
        of_part, draw_examples(shapes(6), [part._get_ori_dataset_idx(0)]).images[0]
    )


def test_a_wrapper_that_is_not_known():
    with pytest.raises(ValueError, match='Subset is no wrapper that is known'):
        draw_examples(Subset(shapes(4), [0, 1]), [0])


def test_images_that_the_pipeline_gives_up_on():
    class GivesUp:
        def __call__(self, results):
            return None if results['sample_idx'] in (0, 5) else results

    dataset = shapes(6)
    dataset.pipeline.transforms.insert(0, GivesUp())
    examples = draw_examples(dataset, [0, 2, 5])
    for image, position in zip(examples.images, (1, 2, 1)):
        assert np.array_equal(image, draw_examples(shapes(6), [position]).images[0])
    dataset.pipeline.transforms.insert(0, lambda results: None)
    with pytest.raises(ValueError, match='gives up on image 2 of the data set and on the 99'):
        draw_examples(dataset, [2])


def test_each_process_judges_images_of_its_own():
    batches = shown_positions(20, 5, 3, seed=0)
    assert [len(batch) for batch in batches] == [5, 5, 5]
    assert len({position for batch in batches for position in batch}) == 15
    # Not the first ones, which are of one class in many data sets.
    assert max(batches[0]) > 9
    assert shown_positions(20, 5, 3, seed=1) != batches
    assert shown_positions(20, 5, 3, seed=0) == batches
    # Fewer images than there are to judge.
    assert sorted(shown_positions(3, 4, 1, seed=0)[0])[::3] == [0, 2]


def test_mlflow_wants_an_extension(tmp_path):
    visualizer = Visualizer(vis_backends=[dict(type='LocalVisBackend')], save_dir=str(tmp_path))
    assert picture_name('a', visualizer) == 'a'
    # test_trackers.py has a run with MLflow itself.
    visualizer._vis_backends['MLflowVisBackend'] = object()
    assert picture_name('a', visualizer) == 'a.png'


def test_examples_need_candidates():
    dataset = DATASETS.build(
        dict(type='ShapesDataset', num_samples=2, pipeline=[dict(type='PackInputs')])
    )
    with pytest.raises(ValueError, match=r'has no CandidateViews: \[.PackInputs.\]'):
        draw_examples(dataset, [0])


def test_the_losses_that_are_shown(tmp_path):
    runner = train(tmp_path, simsiam(), max_epochs=1)
    selection = select_examples(runner.model, draw_examples(shapes(), range(3)))
    shown = shown_pair_loss(runner.model, selection)
    diagonal = np.eye(4, dtype=bool)
    assert np.isnan(shown[:, diagonal]).all()
    expected = selection.pair_loss.numpy()
    assert np.array_equal(shown[:, ~diagonal], expected[:, ~diagonal])
    # The record itself is left as it is.
    assert np.isfinite(expected).all()


def test_the_overlap_that_is_shown_in_place_of_losses(tmp_path):
    """Of a view with itself there is none, also for iBOT."""
    runner = train(tmp_path, dict(ibot(), selector='lowest_iou'), max_epochs=1)
    examples = draw_examples(runner.train_dataloader.dataset, range(2))
    selection = select_examples(runner.model, examples)
    shown = shown_pair_loss(runner.model, selection)
    assert np.isnan(shown).sum() == 2 * 3
    box, other = examples.boxes[0, :1], examples.boxes[0, 4:5]
    expected = box_iou(torch.from_numpy(box), torch.from_numpy(other)).item()
    assert shown[0, 0, 4] == pytest.approx(-expected, abs=1e-6)
    figure = draw_examples_panel(runner.model, examples, selection, 1)
    assert any(axes.get_title('left').startswith('minus IoU, mean of') for axes in figure.axes)


def test_losses_of_a_view_and_itself(tmp_path):
    """iBOT predicts the masked patches of a view from the view itself."""
    runner = train(tmp_path, ibot(), max_epochs=1)
    examples = draw_examples(runner.train_dataloader.dataset, range(2))
    selection = select_examples(runner.model, examples)
    shown = shown_pair_loss(runner.model, selection)
    assert np.array_equal(shown, selection.pair_loss.numpy())
    assert np.isfinite(shown).all()
