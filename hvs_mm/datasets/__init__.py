from .candidate_views import CandidateViews, PackViews
from .geometry import ViewGeometry
from .shapes import ShapesDataset

__all__ = ['CandidateViews', 'PackViews', 'ShapesDataset', 'ViewGeometry']
