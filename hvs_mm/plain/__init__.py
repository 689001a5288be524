"""Hard view selection in any training loop of torch: no configs, no registries, no Runner.

Nothing here imports MMEngine or MMPretrain.
"""

from .candidate_transform import CandidateBatch, CandidateTransform
from .hard_views import HardViews
from .per_pair import PerPair
from .selection_log import SelectionLog

__all__ = ['CandidateBatch', 'CandidateTransform', 'HardViews', 'PerPair', 'SelectionLog']
