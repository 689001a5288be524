"""Pictures of the selection, while a run trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmengine.visualization import Visualizer
from mmpretrain.registry import HOOKS

from ..datasets.loading.examples import draw_examples
from ..models.hvs_algorithm import selecting_model
from ..utils.arguments import check_whole
from ..utils.printable import is_unicode
from ..utils.unwrap_model import whole_weights
from .panel import to_rgb
from .selected_examples import draw_examples_panel, select_examples


@HOOKS.register_module()
class SelectionPanelHook(Hook):
    """Pictures the candidate views of some training images and which of them are kept.

    Acts before training, after every ``interval`` epochs and after the last one; in a run that
    counts iterations, after every ``interval`` of these. It writes ``selection/epoch_10.png`` (or
    ``iter_1000.png``) into the work dir and adds the picture to the visualizer as
    ``selection_panel``. Images and views are the same every time, so that only the model changes
    between two pictures; the model selects in a batch of the training's size. Losses, weights and
    random states stay as they are.

    Args:
        interval: Epochs (iterations) between two pictures.
        num_images: Images in a picture.
        seed: Seed for the choice of images and for the views.

    Raises:
        ValueError: If ``interval`` or ``num_images`` is below 1; when training starts, if the
            model selects no views, or the pipeline draws no candidates.
    """

    def __init__(self, interval: int = 10, num_images: int = 4, seed: int = 0) -> None:
        self.interval = check_whole('interval', interval)
        self.num_images = check_whole('num_images', num_images)
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self._draw(runner, runner.epoch if self._by_epoch else runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        is_due = self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)
        if is_due and not self._by_epoch:
            self._draw(runner, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        is_due = self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)
        if is_due and self._by_epoch:
            self._draw(runner, runner.epoch + 1)

    def _draw(self, runner: Runner, done: int) -> None:
        model = selecting_model(runner.model)
        dataset = runner.train_dataloader.dataset
        batch_size = max(runner.train_dataloader.batch_size or 1, self.num_images)
        batches = shown_positions(len(dataset), batch_size, get_world_size(), self.seed)
        # Drawn again each time, not kept: a batch with its originals is large.
        examples = draw_examples(dataset, batches[get_rank()], self.seed)
        # In the precision of the training.
        with whole_weights(runner.model), runner.optim_wrapper.optim_context(runner.model):
            selection = select_examples(model, examples)
        if not is_main_process():
            return
        figure = draw_examples_panel(model, examples, selection, self.num_images)
        unit = 'epoch' if self._by_epoch else 'iter'
        path = Path(runner.work_dir, 'selection', f'{unit}_{done}.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        if not is_unicode(runner.work_dir):
            runner.logger.warning(
                'Panels are only in the folder selection, not in the visualizer: the path of the '
                'work dir is no UTF-8, and OpenCV, with which MMEngine would write, crashes at it.'
            )
            return
        name = picture_name('selection_panel', runner.visualizer)
        runner.visualizer.add_image(name, to_rgb(figure), step=done)


def shown_positions(
    num_images: int, batch_size: int, world_size: int, seed: int
) -> list[list[int]]:
    """Choose the images of each process: random ones, as many data sets are sorted by class.

    Each process has images of its own, as far as there are enough: methods with negatives from all
    processes must not meet an image twice.
    """
    order = np.random.default_rng(seed).permutation(num_images)
    return np.resize(order, (world_size, batch_size)).tolist()


def picture_name(name: str, visualizer: Visualizer) -> str:
    """The name of a picture that all backends of a visualizer accept."""
    # The MLflowVisBackend of MMEngine 0.10.7 and of OneDL's 0.10.12 passes the name on as that of a
    # file, for which MLflow requires an extension.
    return f'{name}.png' if visualizer.get_backend('MLflowVisBackend') else name
