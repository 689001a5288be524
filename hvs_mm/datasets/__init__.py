from .block_masks import BlockMasks
from .candidate_views import CandidateViews, PackViews
from .geometry import ViewGeometry
from .shapes import ShapesDataset

__all__ = ['BlockMasks', 'CandidateViews', 'PackViews', 'ShapesDataset', 'ViewGeometry']
