"""Hard view selection around any self-supervised algorithm of MMPretrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from ..selection.gather import gather_views
from ..selection.groups import ViewGroups
from ..selection.pair_losses.base import PairLoss, Samples, build_pair_loss
from ..selection.record import MAX_LOGGED_COMBINATIONS, Selection
from ..selection.relaxation import relax
from ..selection.scores import ScoreWeights, finite_mean
from ..selection.selectors import Selector, build_selector
from ..utils.arguments import check_settings
from ..utils.compile_guards import compile_guards
from ..utils.precision import full_precision
from ..utils.state_guard import preserve_state
from ..utils.to_device import index_tensor, to_device
from ..utils.unwrap_model import unwrap_model
from .cheap_pass.selection_pass import PASS_SETTINGS, SelectionPass
from .checks import (
    FiniteViewsCheck,
    check_batch_size,
    check_samples,
    check_views,
    count_target_groups,
)
from .information_guard import InformationGuard, build_guard
from .photometry.device_photometry import check_photometry_done
from .selection_schedule import SCHEDULE_SETTINGS, SelectionSchedule
from .transparent import TransparentWrapper, build_algorithm

#: Where the settings that were arguments of their own are now: setting and key.
MOVED_ARGUMENTS = {f'select_{key}': ('selection_pass', key) for key in PASS_SETTINGS} | {
    key: ('schedule', key) for key in SCHEDULE_SETTINGS
}


@MODELS.register_module()
class HVSAlgorithm(TransparentWrapper):
    """Hard View Selection, HVS (`arXiv 2310.03940 <https://arxiv.org/abs/2310.03940>`_).

    Per step: forward all candidate views without gradient, form the loss of every admissible
    combination per sample, keep the combination the selector chooses (by default the one with
    the highest loss), and run the wrapped algorithm's own, untouched ``loss`` on it.

    The wrapper owns no weights. It shares parameters, buffers and submodules with the wrapped
    algorithm, under the same names, see :mod:`hvs_mm.models.transparent`: checkpoints go both ways
    without conversion, and ``model.backbone`` is the algorithm's.

    Besides the algorithm's losses, ``loss`` returns for the log line (rank-local, per batch):

    - ``hvs_score``: mean score of the kept combination, over the samples that have a finite one,
    - ``hvs_score_mean``: mean score of all combinations, likewise,
    - ``hvs_hardness``: realized hardness, 1 for the hardest combination, 0 for a random one,
    - ``hvs_nonfinite``: share of NaN or infinite scores,
    - ``hvs_kept_0-1`` ...: share of samples that kept target views 0 and 1 ..., for up to 28
      combinations of target views.

    Args:
        algorithm: Config of a self-supervised algorithm, or a built one.
        candidates: Views drawn per group, in the order in which the loader gives them; target
            (full-size) groups first.
        keep: Views kept per group, at most as many as drawn.
        selector: The name of a selector in :mod:`hvs_mm.selection.selectors`, such as
            ``'hardest'`` or ``'random'``, a dict such as
            ``dict(type='hardest', max_comparisons=64)``, or a built selector. Some, such as
            ``'lowest_iou'``, read what :class:`hvs_mm.datasets.CandidateViews` has recorded in the
            data samples; the candidates are then not forwarded.
        pair_loss: Config of a pair loss, or a built one; by default the one registered for the
            algorithm's type.
        target_groups: Positions of the target groups, ``[0, 1, ...]``. By default those whose
            views have the size of the first group's.
        data_preprocessor: Passed to ``algorithm`` if that has none. The Runner fills it in from
            the config's top level.
        selection_pass: Makes the forwards of the candidates cheaper: ``scale``, ``tokens``,
            ``depth``, ``dtype`` and ``online`` of :class:`hvs_mm.models.SelectionPass`.
        schedule: Selects in some steps or for some samples only: ``interval``, ``warmup`` and
            ``prob`` of :class:`hvs_mm.models.SelectionSchedule`.
        guard: For DINO and iBOT: makes choices random in training steps while the student's outputs
            tell little about the image: ``low``, ``high`` and ``momentum`` of
            :class:`hvs_mm.models.InformationGuard`, ``{}`` for its defaults. None by default.

    docs/performance.md says how much ``selection_pass`` and ``schedule`` save, and how much of the
    choice remains. With a ``schedule``, ``hvs_share`` in the log is the share of samples that was
    selected for. With a ``guard``, the log has ``hvs_information``, in nats, and ``hvs_guard``, the
    share of the selector's choices that it lets through; both are the same in all processes.

    Raises:
        TypeError: If an argument has the wrong type, or ``algorithm`` is no self-supervised one.
        ValueError: If an argument has a wrong value, or the algorithm has no pair loss.

    Examples:
        >>> model = MODELS.build(dict(type='HVSAlgorithm', algorithm=simsiam_config,
        ...                           candidates=[4], keep=[2]))
        >>> views = [torch.randn(8, 3, 224, 224) for _ in range(4)]
        >>> selection = model.select_views(views)
        >>> kept = model.gather(views, selection.indices)  # 2 tensors (8, 3, 224, 224)
    """

    selector: Selector
    pair_loss: PairLoss
    selection_pass: SelectionPass
    guard: InformationGuard | None

    def __init__(
        self,
        algorithm: dict[str, Any] | nn.Module,
        candidates: Sequence[int],
        keep: Sequence[int],
        selector: str | dict[str, Any] | Selector = 'hardest',
        pair_loss: dict[str, Any] | PairLoss | None = None,
        target_groups: Sequence[int] | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        *,
        selection_pass: dict[str, Any] | None = None,
        schedule: dict[str, Any] | None = None,
        guard: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        # The settings are checked before the costly part, building the algorithm.
        _reject(unknown)
        groups = ViewGroups(candidates, keep, num_target_groups=1)
        num_target_groups = count_target_groups(target_groups, len(groups.candidates))
        selector = build_selector(selector)
        pass_settings = check_settings('selection_pass', selection_pass, PASS_SETTINGS)
        when = SelectionSchedule(**check_settings('schedule', schedule, SCHEDULE_SETTINGS))
        super().__init__(build_algorithm(algorithm, data_preprocessor))
        algorithm = self.algorithm
        pair_loss = build_pair_loss(pair_loss, algorithm)
        pair_loss.check(algorithm, groups)
        if selector.values is not None and pass_settings:
            raise ValueError(
                f'selection_pass={pass_settings} makes the forwards of the candidates cheaper, but '
                f'{type(selector).__name__} takes none: leave selection_pass out.'
            )
        if pair_loss.all_targets:
            if num_target_groups not in (None, len(groups.candidates)):
                raise ValueError(
                    f'target_groups={list(target_groups or ())}: every view that '
                    f'{type(algorithm).__name__} trains on is a target; leave target_groups out.'
                )
            num_target_groups = len(groups.candidates)
        self.candidates, self.keep, self._groups = groups.candidates, groups.keep, groups
        self._num_target_groups = num_target_groups
        self._set_member('selector', selector)
        self._set_member('pair_loss', pair_loss)
        self._set_member('selection_pass', SelectionPass(algorithm, pair_loss, **pass_settings))
        self._set_member(
            'guard', build_guard(guard, pair_loss, selector, self.selection_pass.depth)
        )
        self.schedule = when
        self._check_finite = FiniteViewsCheck()
        #: The record of the last training step, for hooks; ``None`` if it selected nothing.
        self.last_selection: Selection | None = None

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        # A checkpoint must not be written of weights that a bad batch has spoiled.
        self._check_finite.flush()
        super()._save_to_state_dict(*args, **kwargs)

    def forward(
        self, inputs: list[Tensor] | Tensor, data_samples: Samples = None, mode: str = 'tensor'
    ) -> Any:
        """Select and train in mode ``'loss'``; any other mode is the algorithm's own."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)  # type: ignore[arg-type]  # it checks them
        return self.algorithm(inputs, data_samples, mode)

    @compile_guards
    def loss(self, inputs: list[Tensor], data_samples: Samples = None) -> dict[str, Tensor]:
        """Select views and return the algorithm's losses on them, with entries for the log.

        Inputs are one preprocessed tensor (B, 3, H, W) per candidate view, and B data samples.

        Raises:
            TypeError: If the inputs are no list of tensors.
            ValueError: If the views do not fit ``candidates``, hold pixels that are not finite,
                lack the records that the selector reads, their colors are still to be changed, or
                the batch is too small for BatchNorm.
        """
        check_photometry_done(data_samples)
        groups, known = self._prepare(inputs, data_samples)
        check_batch_size(self.algorithm, len(inputs[0]))
        self._check_finite(inputs, data_samples)
        # Kept where no views are selected.
        first = index_tensor([groups.first_views()], inputs[0].device)
        indices = first.expand(len(inputs[0]), -1)
        self.last_selection, entries = None, {}
        if self.schedule.is_due():
            samples = self.schedule.draw_samples(len(inputs[0]), self.pair_loss.min_samples)
            selection, outputs = self._select(inputs, data_samples, groups, known, samples)
            selection, entries = self._guarded(selection, outputs)
            self.last_selection = selection
            entries.update(_log_entries(selection))
            if samples is not None:
                indices = indices.index_copy(0, selection.samples, selection.indices)
            else:
                indices = selection.indices
                if outputs is not None:
                    known = {**known, **self.selection_pass.reusable(self.algorithm, outputs)}
            # The outputs of views that are not kept need not live through the training step.
            del outputs
        if not self.schedule.is_complete:
            share = 0 if self.last_selection is None else len(selection.indices) / len(indices)
            # Filled on the device: a number sent there would be waited for.
            entries['hvs_share'] = indices.new_full((), share, dtype=torch.float32)
        kept_targets = indices[:, : groups.num_kept_targets]
        known = self.pair_loss.of_kept(known, kept_targets, groups)
        losses = self.algorithm.loss(self.gather(inputs, indices), data_samples, **known)
        return {**losses, **entries}

    def select_views(self, inputs: list[Tensor], data_samples: Samples = None) -> Selection:
        """Choose the views to train on; parameters, buffers and modes stay as they are.

        Takes the arguments of :meth:`loss`; iBOT needs ``view_masks`` in the data samples. Returns
        the record with ``indices`` (B, kept) int64 and more.

        Raises:
            TypeError: If the inputs are no list of tensors.
            ValueError: If they do not fit ``candidates``, or lack the records that the selector
                reads.
        """
        return self._select(inputs, data_samples, *self._prepare(inputs, data_samples))[0]

    @property
    def score_weights(self) -> ScoreWeights:
        """How the values of pairs that the selector reads enter a score."""
        return self.selection_pass.weights if self.selector.values is None else ScoreWeights()

    def _prepare(
        self, inputs: list[Tensor], data_samples: Samples
    ) -> tuple[ViewGroups, dict[str, Tensor]]:
        """Check a batch, and return its groups and the inputs of its target views."""
        weights = self.algorithm.parameters()
        dtype = next((one.dtype for one in weights if one.is_floating_point()), None)
        check_views(inputs, self.candidates, dtype)
        check_samples(data_samples, len(inputs[0]))
        groups = self.groups(inputs)
        batch = inputs, groups.num_targets, data_samples
        return groups, self.pair_loss.target_inputs(self.algorithm, *batch)

    @compile_guards
    @torch.no_grad()
    def _select(
        self,
        inputs: list[Tensor],
        data_samples: Samples,
        groups: ViewGroups,
        target_inputs: dict[str, Tensor],
        samples: Tensor | None = None,
    ) -> tuple[Selection, Any]:
        """The selection for ``samples`` (n,) int64 or all, and the outputs of the selection pass,
        ``None`` without one.
        """
        device, outputs = inputs[0].device, None
        rows = None if samples is None else to_device(samples, device)
        if self.selector.values is not None:
            pair_loss = self.selector.values.of_samples(data_samples, groups, device)
            pair_loss = pair_loss if rows is None else pair_loss[rows]
        else:
            if samples is not None:
                target_inputs = {name: value[samples] for name, value in target_inputs.items()}
                inputs = [view[rows] for view in inputs]
            pair_loss, outputs = self._forward_candidates(inputs, groups, target_inputs)
        selection = full_precision(self.selector)(pair_loss, groups, self.score_weights)
        return replace(selection, samples=rows), outputs

    @compile_guards
    def _forward_candidates(
        self, inputs: list[Tensor], groups: ViewGroups, target_inputs: dict[str, Tensor]
    ) -> tuple[Tensor, Any]:
        """The pair losses (B, T, S) float32, and the outputs they come from."""
        pass_, algorithm = self.selection_pass, self.algorithm
        subsets = pass_.draw_subsets()
        with preserve_state(algorithm):
            outputs = pass_.forward(algorithm, inputs, groups.num_targets, target_inputs, subsets)
            pair_loss = pass_.form(algorithm, outputs).float()
        # Autocast remembers the weights it has cast. Those it cast here have no gradient history,
        # so the training step must not find them (torch 2.10: gradients would be None).
        torch.clear_autocast_cache()
        return pair_loss, outputs

    @torch.compiler.disable
    @torch.no_grad()
    def _guarded(self, selection: Selection, outputs: Any) -> tuple[Selection, dict[str, Tensor]]:
        """What the guard leaves of a selection, and its log entries; all of it without a guard."""
        if self.guard is None:
            return selection, {}
        sums = self.pair_loss.student_sums(self.algorithm, outputs)
        level, information = self.guard.level(sums)
        selection = relax(selection, level, self.score_weights)
        return selection, {'hvs_information': information, 'hvs_guard': level}

    def gather(self, inputs: list[Tensor], indices: Tensor) -> list[Tensor]:
        """Collect the views (B, 3, H, W) with the ``indices`` (B, kept) of :meth:`select_views`."""
        return gather_views(inputs, indices, self._groups)

    def groups(self, inputs: list[Tensor]) -> ViewGroups:
        """The groups that the candidates, one tensor (B, 3, H, W) each, come in.

        Raises:
            ValueError: If the views of the first one's size do not come first.
        """
        count = self._num_target_groups
        if count is None:
            sizes = [tuple(inputs[span.start].shape[2:]) for span in self._groups.spans()]
            is_target = [size == sizes[0] for size in sizes]
            count = sum(is_target)
            if not all(is_target[:count]):
                raise ValueError(
                    f'the groups have views of sizes {sizes}: groups with the size of the first '
                    'are the target groups and must come first. Reorder the pipelines of '
                    'CandidateViews, or name the target groups with target_groups=[...].'
                )
        return replace(self._groups, num_target_groups=count)


def selecting_model(model: nn.Module) -> HVSAlgorithm:
    """The ``HVSAlgorithm`` of ``runner.model``, unwrapped.

    Raises:
        ValueError: If the model selects no views.
    """
    model = unwrap_model(model)
    if not isinstance(model, HVSAlgorithm):
        raise ValueError(
            f'the model {type(model).__name__} selects no views, so there is nothing to show: '
            'leave out the hooks that show the selection (SelectionStatsHook, SelectionPanelHook), '
            'or train HVSAlgorithm.'
        )
    return model


def _reject(unknown: dict[str, Any]) -> None:
    """Raise about arguments that do not exist, or no longer."""
    for name, value in unknown.items():
        if name in MOVED_ARGUMENTS:
            setting, key = MOVED_ARGUMENTS[name]
            raise TypeError(f'{name}={value!r} is now {setting}=dict({key}={value!r}).')
        raise TypeError(f'HVSAlgorithm takes no argument {name!r}.')


def _log_entries(selection: Selection) -> dict[str, Tensor]:
    # No name may contain "loss": MMEngine adds every such entry to the loss.
    entries = {
        'hvs_score': finite_mean(selection.score),
        'hvs_score_mean': finite_mean(selection.mean_score),
        'hvs_hardness': finite_mean(selection.hardness()),
        'hvs_nonfinite': selection.nonfinite.mean(),
    }
    choices = selection.groups.target_combinations()
    if len(choices) <= MAX_LOGGED_COMBINATIONS:
        for views, share in zip(choices, selection.choice_shares()):
            entries['hvs_kept_' + '-'.join(map(str, views))] = share
    return entries
