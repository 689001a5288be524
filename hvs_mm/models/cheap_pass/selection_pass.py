"""The pass over the candidates, and its cheaper variants."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ...losses.cosine import cosine_similarities
from ...selection.pair_losses.base import Algorithm, PairLoss, Subsets, registered_pair_losses
from ...selection.pair_losses.forward import forward_views
from ...selection.scores import ScoreWeights
from ...utils.arguments import check_choice, check_share, is_whole
from ...utils.compile_guards import compile_guards
from ..backbones.masked_vit import patch_size
from ..checks import ViewsError
from .depth import early_features, layers_of
from .dtype import backbones_in
from .scale import smaller_views
from .tokens import fewer_tokens, token_subsets, transformers_in

#: Values of ``selection_pass.dtype``.
_DTYPES: dict[str | None, torch.dtype] = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
#: The settings of a pass.
PASS_SETTINGS = ('scale', 'tokens', 'depth', 'dtype', 'online')


class SelectionPass:
    """Forwards all candidates and forms their pair losses.

    By default with the views, the network and the precision of the training step, which makes a
    score the very loss that the step would have. Each option makes the pass cheaper and its scores
    estimates; they can be combined.

    Args:
        algorithm: The algorithm whose views are selected.
        pair_loss: Pair loss of the algorithm.
        scale: Scale of the views' sides for selection, in (0, 1], rounded to whole patches of a
            transformer, whose position embedding is interpolated.
        tokens: Share of the patch tokens that vision transformers keep, in (0, 1].
        depth: Stages of a ``ResNet`` or layers of a ``VisionTransformer`` after which selection
            leaves the backbone. The pair loss is then the negative cosine of the pooled features of
            two views there; projector, predictor, teacher and masks do not enter.
        dtype: ``'bfloat16'`` or ``'float16'`` for the backbones in this pass, by autocast, whatever
            the training step has.
        online: ``'all'`` views, or ``'local'`` ones alone, go through the online network. The loss
            of a pair whose online view is a target is then taken to be the mean over the local
            views of the same target view.

    Raises:
        ValueError: If an option has a wrong value or does not fit the backbone.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        pair_loss: PairLoss,
        scale: float = 1.0,
        tokens: float = 1.0,
        depth: int | None = None,
        dtype: str | None = None,
        online: str = 'all',
    ) -> None:
        scale = check_share('selection_pass.scale', scale, zero=False)
        tokens = check_share('selection_pass.tokens', tokens, zero=False)
        if dtype is not None:
            hint = 'leave it out for the precision of the training step.'
            check_choice('selection_pass.dtype', dtype, _DTYPES, hint)
        if tokens < 1 and not transformers_in(algorithm):
            raise ValueError(
                f'selection_pass.tokens={tokens} drops patch tokens of vision transformers, but '
                f'{type(algorithm).__name__} has a {type(algorithm.backbone).__name__}: leave it '
                'out, or use selection_pass.scale.'
            )
        if tokens < 1 and any(hasattr(m, 'rotary') for m in transformers_in(algorithm)):
            raise ValueError(
                f'selection_pass.tokens={tokens} drops patch tokens, but the rotary positions of '
                f'{type(algorithm.backbone).__name__} are those of a whole grid: leave it out, or '
                'use selection_pass.scale.'
            )
        layers = [] if depth is None else layers_of(algorithm.backbone)
        if depth is not None and not is_whole(depth, 1, len(layers)):
            raise ValueError(
                f'selection_pass.depth={depth!r} must be an integer from 1 to {len(layers)}, the '
                f'stages or layers of {type(algorithm.backbone).__name__} after which to leave it.'
            )
        _check_online(online, depth, pair_loss)
        self.pair_loss = pair_loss
        self.scale, self.tokens, self.depth, self.dtype = scale, tokens, depth, dtype
        self.online = online
        #: How the parts of the tensor enter a score.
        self.weights = pair_loss.score_weights(algorithm) if depth is None else ScoreWeights()
        convolutions = [m for m in algorithm.backbone.modules() if isinstance(m, nn.Conv2d)]
        # A transformer has one, which cuts the patches.
        self._is_convolutional = len(convolutions) > 1

    @property
    def is_exact(self) -> bool:
        """Whether outputs of the target views are those of the training step."""
        return self.scale == 1 and self.tokens == 1 and self.depth is None and self.dtype is None

    @torch.compiler.disable
    def draw_subsets(self) -> Subsets:
        """Draw which tokens this pass keeps, ``None`` for all."""
        return token_subsets(self.tokens) if self.tokens < 1 else None

    @compile_guards
    def forward(
        self,
        algorithm: Algorithm,
        views: Sequence[Tensor],
        num_targets: int,
        target_inputs: dict[str, Any],
        subsets: Subsets = None,
    ) -> Any:
        """Forward the candidates as :meth:`hvs_mm.selection.PairLoss.forward` does.

        ``subsets`` come from :meth:`draw_subsets`. The result is for :meth:`form`.
        """
        if self.scale < 1:
            views = smaller_views(views, self.scale, patch_size(algorithm.backbone))
        if self.scale < 1 or subsets is not None:
            target_inputs = self.pair_loss.fitted(algorithm, target_inputs, views, subsets)
        if views[0].device.type == 'cpu' and self._is_convolutional:
            # The same numbers but for rounding, in 0.5 to 0.7 of the time (torch 2.10, AMD EPYC).
            views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        if self.online == 'local':
            if num_targets == len(views):
                raise ViewsError(
                    "selection_pass.online='local' selects by the local views, but all "
                    f'{num_targets} candidates are target views: leave it out, or draw smaller '
                    'views, too.'
                )
            target_inputs = {**target_inputs, 'first_online': num_targets}
        with ExitStack() as stack:
            if subsets is not None:
                stack.enter_context(fewer_tokens(transformers_in(algorithm), subsets))
            dtype, device = _DTYPES.get(self.dtype), views[0].device
            if self.depth is None:
                if dtype is not None:
                    stack.enter_context(backbones_in(algorithm, dtype, device))
                return self.pair_loss.forward(algorithm, views, num_targets, **target_inputs)
            if dtype is not None:
                stack.enter_context(torch.autocast(device.type, dtype))
            backbone, depth = algorithm.backbone, self.depth
            features = forward_views(lambda x: early_features(backbone, x, depth), views)
            return features, num_targets

    def form(self, algorithm: Algorithm, outputs: Any) -> Tensor:
        """Fill the pair-loss tensor (B, T, S) from what :meth:`forward` returned."""
        if self.depth is None:
            pair_loss = self.pair_loss.form(algorithm, outputs)
            if self.online == 'all':
                return pair_loss
            # In front of the local views (B, T, S - T) come the T targets, not forwarded. Not with
            # zero, which would make a combination with hard targets no harder by their own pairs.
            expected = pair_loss.mean(-1, keepdim=True).expand(-1, -1, pair_loss.shape[1])
            return torch.cat([expected, pair_loss], dim=-1)
        features, num_targets = outputs
        return -cosine_similarities(features, features[:, :num_targets])

    def reusable(self, algorithm: Algorithm, outputs: Any) -> dict[str, Tensor]:
        """Outputs (B, T, ...) that the training step need not compute again."""
        return self.pair_loss.reusable(algorithm, outputs) if self.is_exact else {}


def _check_online(online: Any, depth: int | None, pair_loss: PairLoss) -> None:
    if check_choice('selection_pass.online', online, ('all', 'local')) == 'all':
        return
    if depth is not None:
        raise ValueError(
            f'selection_pass.online={online!r} leaves out online views, but with '
            f'selection_pass.depth={depth} targets are compared by the same features: set one of '
            'the two.'
        )
    if not pair_loss.takes_first_online:
        known = registered_pair_losses().items()
        raise ValueError(
            f'selection_pass.online={online!r} is not for {type(pair_loss).__name__}, whose target '
            'views are online views that count as much: leave it out. It is for '
            f'{sorted(name for name, cls in known if cls.takes_first_online)}.'
        )
