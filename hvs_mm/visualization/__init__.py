from ..utils.installed import HAS_MMPRETRAIN
from .panel import draw_selection, to_rgb
from .record_panel import draw_record

if HAS_MMPRETRAIN:
    from .selected_examples import (
        describe_view,
        draw_candidates,
        draw_examples_panel,
        select_examples,
        shown_pair_loss,
    )
    from .selection_panel_hook import SelectionPanelHook

__all__ = [
    'SelectionPanelHook',
    'describe_view',
    'draw_candidates',
    'draw_examples_panel',
    'draw_record',
    'draw_selection',
    'select_examples',
    'shown_pair_loss',
    'to_rgb',
]
