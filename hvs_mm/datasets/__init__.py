from ..utils.installed import HAS_MMPRETRAIN

if HAS_MMPRETRAIN:
    from ..utils.view_geometry import ViewGeometry
    from .block_masks import BlockMasks
    from .loading.checked_image import LoadCheckedImage
    from .loading.examples import Examples, draw_examples, join_examples
    from .shapes import ShapesDataset
    from .shards.block_sampler import BlockSampler
    from .shards.shard_datasets import HuggingFaceImages, WebDatasetImages
    from .views.candidate_views import CandidateViews
    from .views.pack_views import PackViews

__all__ = [
    'BlockMasks',
    'BlockSampler',
    'CandidateViews',
    'Examples',
    'HuggingFaceImages',
    'LoadCheckedImage',
    'PackViews',
    'ShapesDataset',
    'ViewGeometry',
    'WebDatasetImages',
    'draw_examples',
    'join_examples',
]
