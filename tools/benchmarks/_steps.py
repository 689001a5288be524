"""A training step with hard view selection, against one without, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from _measuring import Clock, peak_memory, summarize
from _workload import Batch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from hvs_mm.evaluation import count_operations, operation_counter
from hvs_mm.models import HVSAlgorithm
from hvs_mm.utils.precision import full_precision
from hvs_mm.utils.state_guard import preserve_state

#: Parts of a step with selection, in their order.
PARTS = ('forward', 'pair_loss', 'pick', 'gather', 'train')
#: Share of the student in an update of a teacher; any number costs the same.
_MOMENTUM = 0.004


class Steps:
    """The steps that are compared, on the same model with the same optimizer.

    Args:
        model: In train mode, on the device of the batches.
        optim_wrapper: Its optimizer.
        draw: Draws a batch of the candidates at the given positions, ``None`` for all.
        autocast: Gives the context in which forward passes run.
        compile_loss: Applied to the losses of both kinds of step, such as ``torch.compile``.
    """

    def __init__(
        self,
        model: HVSAlgorithm,
        optim_wrapper: OptimWrapper,
        draw: Callable[[list[int] | None], Batch],
        autocast: Callable[[], AbstractContextManager] = nullcontext,
        compile_loss: Callable[[Callable], Callable] = lambda loss: loss,
    ) -> None:
        self.model, self.optim_wrapper = model, optim_wrapper
        self.draw, self.autocast = draw, autocast
        self.algorithm = model.algorithm
        batch = draw(None)
        self.groups = model.groups(batch.views)
        self.kept = self.groups.first_views()
        # Whether the candidates go forward, and the training step takes the teacher's outputs.
        self.has_forwards = model.selector.values is None
        self.reuses_teacher = self.has_forwards and self._has_reusable_outputs(batch)
        self._vanilla_loss = compile_loss(lambda *batch: self.algorithm.loss(*batch))
        self._hvs_loss = compile_loss(lambda *batch: model.loss(*batch))
        self._bare = compile_loss(self._forward)

    def vanilla(self, batch: Batch) -> None:
        """A step of the baseline on ``keep`` views."""
        with self.autocast():
            losses = self._vanilla_loss(*batch)
        self._update(losses)

    def hvs(self, batch: Batch) -> None:
        """A step with selection."""
        with self.autocast():
            losses = self._hvs_loss(*batch)
        self._update(losses)

    def hvs_in_parts(self, batch: Batch, clock: Clock) -> None:
        """A step that selects for all samples, with the time of each part."""
        model, algorithm, pass_ = self.model, self.algorithm, self.model.selection_pass
        views, num_targets = batch.views, self.groups.num_targets
        pair_loss, outputs = model.pair_loss, None
        with self.autocast():
            extras = self._target_inputs(batch)
            with torch.no_grad():
                with clock.part('forward'):
                    if self.has_forwards:
                        with preserve_state(algorithm):
                            subsets = pass_.draw_subsets()
                            outputs = pass_.forward(algorithm, views, num_targets, extras, subsets)
                with clock.part('pair_loss'):
                    if self.has_forwards:
                        values = pass_.form(algorithm, outputs).float()
                    else:
                        of_samples = model.selector.values.of_samples
                        values = of_samples(batch.samples, self.groups, views[0].device)
                torch.clear_autocast_cache()
                with clock.part('pick'):
                    select = full_precision(model.selector)
                    selection = select(values, self.groups, model.score_weights)
                with clock.part('gather'):
                    if self.has_forwards:
                        extras = {**extras, **pass_.reusable(algorithm, outputs)}
                    kept = selection.indices[:, : self.groups.num_kept_targets]
                    known = pair_loss.of_kept(extras, kept, self.groups)
                    views = model.gather(views, selection.indices)
                del extras, outputs
            train = clock.now()
            losses = algorithm.loss(views, batch.samples, **known)
        self._update(losses)
        clock.add('train', train, clock.now())

    def bare(self, batch: Batch) -> None:
        """The candidates forward, and nothing else, where the selector needs that."""
        if not self.has_forwards:
            return
        with self.autocast(), torch.no_grad():
            self._bare(batch.views, self._target_inputs(batch))
        torch.clear_autocast_cache()

    @contextmanager
    def reused(self, now: Callable[[], Any]) -> Iterator[list[tuple[Any, Any]]]:
        """``now()`` before and after each piece of work that selection has done already."""
        if not self.reuses_teacher:
            yield []
            return
        with outermost_calls(self.algorithm.teacher, now) as spans:
            yield spans

    def _has_reusable_outputs(self, batch: Batch) -> bool:
        with torch.no_grad(), preserve_state(self.algorithm):
            outputs = self._forward(batch.views, self._target_inputs(batch))
        return bool(self.model.pair_loss.reusable(self.algorithm, outputs))

    def _target_inputs(self, batch: Batch) -> dict[str, Tensor]:
        num_targets = self.groups.num_targets
        return self.model.pair_loss.target_inputs(self.algorithm, batch[0], num_targets, batch[1])

    def _forward(self, views: list[Tensor], extras: dict[str, Tensor]) -> Any:
        pair_loss, num_targets = self.model.pair_loss, self.groups.num_targets
        return pair_loss.forward(self.algorithm, views, num_targets, **extras)

    def _update(self, losses: dict[str, Tensor]) -> None:
        loss, _ = self.model.parse_losses(losses)
        self.optim_wrapper.update_params(loss)
        if hasattr(self.algorithm, 'update_teacher'):
            self.algorithm.update_teacher(_MOMENTUM)


@contextmanager
def outermost_calls(module: nn.Module, now: Callable[[], Any]) -> Iterator[list[tuple[Any, Any]]]:
    """Note ``now()`` before and after work in a module, also in its submodules called directly.

    Calls within calls do not count. Yields the list that the pairs are added to.
    """
    depth, started, spans = 0, None, []

    def before(*args: Any) -> None:
        nonlocal depth, started
        started = now() if depth == 0 else started
        depth += 1

    def after(*args: Any) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            spans.append((started, now()))

    handles = []
    for part in module.modules():
        handles += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield spans
    finally:
        for handle in handles:
            handle.remove()


def counted_floor(steps: Steps) -> float:
    """``(candidates forward once + vanilla step - reused) / vanilla``, in operations."""
    candidates, kept = steps.draw(None), steps.draw(steps.kept)
    forward = count_operations(lambda: steps.bare(candidates))
    with operation_counter() as counter, steps.reused(counter.get_total_flops) as spans:
        steps.vanilla(kept)
    vanilla = counter.get_total_flops()
    return (forward + vanilla - sum(end - start for start, end in spans)) / vanilla


def measure_step(
    steps: Steps, device: torch.device, repeats: int, memory: bool = True, parts: bool = True
) -> dict[str, Any]:
    """Measure the steps in turn, ``repeats`` times, after one round that does not count.

    Returns:
        By name, over the repetitions, in seconds: ``vanilla``, the baseline's step on as many views
        as are kept; ``hvs``, a step with selection, the mean over ``interval`` steps; ``parts`` of
        a step that selects for all samples, not compiled; ``bare``, a forward pass of all
        candidates without gradient and nothing else; ``reused``, the part of the vanilla step that
        selection has done already: its teacher, where the outputs of the kept views are the same.

        As ratios of times measured next to each other: ``ratio``, ``hvs / vanilla``;
        ``measured_floor``, ``(bare + vanilla - reused) / vanilla``, for a selection in every step
        for every sample; ``over_measured`` and ``over_counted``, the ratio over the two floors;
        ``selecting``, pair loss, pick and gather over all parts.

        And ``counted_floor``, the floor in operations; ``vanilla_memory`` and ``hvs_memory``, the
        peaks in bytes, ``None`` if not measured; ``batch_size`` in images.

        With ``parts=False`` only ``vanilla``, ``hvs``, ``ratio``, the peaks and ``batch_size``.
    """
    clock = Clock(device)
    rounds = [_measure_round(steps, clock, parts) for _ in range(repeats + 1)][1:]
    peaks: list[int | None] = [None, None]
    if memory:
        # The batch is part of what a step needs.
        peaks = [
            peak_memory(lambda: steps.vanilla(steps.draw(steps.kept)), device),
            peak_memory(lambda: steps.hvs(steps.draw(None)), device),
        ]
    t = {name: np.array([times[name] for times in rounds]) for name in rounds[0]}
    t['ratio'] = t['hvs'] / t['vanilla']
    cost: dict[str, Any] = _against_floors(steps, t) if parts else {}
    cost = {**{name: summarize(values) for name, values in t.items()}, **cost}
    return {
        **{name: value for name, value in cost.items() if name not in PARTS},
        'vanilla_memory': peaks[0],
        'hvs_memory': peaks[1],
        'batch_size': len(steps.draw(steps.kept).views[0]),
    }


def _against_floors(steps: Steps, t: dict[str, np.ndarray]) -> dict[str, Any]:
    """The parts of a step and the ratios to its floors, from all times by name."""
    floor = counted_floor(steps)
    measured = (t['bare'] + t['vanilla'] - t['reused']) / t['vanilla']
    choosing = t['pair_loss'] + t['pick'] + t['gather']
    ratios = {
        'measured_floor': measured,
        'over_measured': t['ratio'] / measured,
        'over_counted': t['ratio'] / floor,
        'selecting': choosing / sum(t[part] for part in PARTS),
    }
    return {
        **{name: summarize(values) for name, values in ratios.items()},
        'parts': {part: summarize(t[part]) for part in PARTS},
        'counted_floor': floor,
    }


def _measure_round(steps: Steps, clock: Clock, parts: bool) -> dict[str, float]:
    candidates, kept = steps.draw(None), steps.draw(steps.kept)
    interval = steps.model.schedule.interval
    with clock.part('vanilla'):
        steps.vanilla(kept)
    times = clock.read()
    with clock.part('hvs'):
        for _ in range(interval):
            steps.hvs(candidates)
    times['hvs'] = clock.read()['hvs'] / interval
    if not parts:
        return times
    with clock.part('bare'):
        steps.bare(candidates)
    times.update(clock.read())
    # In a step of its own, without the compiler, which would not call the hooks.
    with steps.reused(clock.now) as spans, steps.autocast():
        steps.algorithm.loss(*kept)
    for span in spans:
        clock.add('reused', *span)
    times.update({'reused': 0.0, **clock.read()})
    steps.hvs_in_parts(candidates, clock)
    times.update(clock.read())
    return times
