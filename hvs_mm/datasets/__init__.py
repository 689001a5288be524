from .block_masks import BlockMasks
from .candidate_views import CandidateViews, PackViews
from .checked_image import LoadCheckedImage
from .examples import Examples, draw_example_batches, draw_examples, whole_batches
from .geometry import ViewGeometry
from .random_state import own_random_numbers
from .shapes import ShapesDataset

__all__ = [
    'BlockMasks',
    'CandidateViews',
    'Examples',
    'LoadCheckedImage',
    'PackViews',
    'ShapesDataset',
    'ViewGeometry',
    'draw_example_batches',
    'draw_examples',
    'own_random_numbers',
    'whole_batches',
]
