"""Pictures of what is selected, while a run trains."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..datasets import draw_examples
from ..models import selecting_model
from .panel import to_rgb
from .selected_examples import draw_examples_panel, select_examples


@HOOKS.register_module()
class SelectionPanelHook(Hook):
    """Pictures the candidate views of some training images and which of them are kept.

    Acts before training, after every ``interval`` epochs and after the last one. It writes
    ``selection/epoch_10.png`` into the work dir and adds the picture to the visualizer as
    ``selection_panel``. The views are the same every time, so that only the model changes between
    two pictures; they are judged in a batch of the training's size. Losses, weights and random
    states are left alone.

    Args:
        interval: Epochs from one picture to the next.
        num_images: Images in a picture.
        seed: Of the views.

    Raises:
        ValueError: If ``interval`` or ``num_images`` is below 1; when training starts, if the
            model selects no views, or the pipeline draws no candidates.
    """

    def __init__(self, interval: int = 10, num_images: int = 4, seed: int = 0) -> None:
        for name, value, unit in (
            ('interval', interval, 'epoch'),
            ('num_images', num_images, 'image'),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f'{name}={value!r} must be a whole number, at least 1 {unit}.')
        self.interval = interval
        self.num_images = num_images
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        selecting_model(runner.model)
        dataset = runner.train_dataloader.dataset
        batch_size = max(runner.train_dataloader.batch_size or 1, self.num_images)
        # Each process shows images of its own: methods with negatives from all processes must not
        # meet an image twice.
        start = get_rank() * batch_size
        positions = [i % len(dataset) for i in range(start, start + batch_size)]
        self._examples = draw_examples(dataset, positions, self.seed)
        self._draw(runner, runner.epoch)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self._draw(runner, runner.epoch + 1)

    def _draw(self, runner: Runner, epoch: int) -> None:
        model = selecting_model(runner.model)
        # In the precision of the training.
        with runner.optim_wrapper.optim_context(runner.model):
            selection = select_examples(model, self._examples)
        if not is_main_process():
            return
        figure = draw_examples_panel(model, self._examples, selection, self.num_images)
        path = Path(runner.work_dir) / 'selection' / f'epoch_{epoch}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        runner.visualizer.add_image('selection_panel', to_rgb(figure), step=epoch)
