from ..utils.installed import HAS_MMPRETRAIN

if HAS_MMPRETRAIN:
    from ..utils.view_geometry import ViewGeometry
    from .block_masks import BlockMasks
    from .join_images import join_images
    from .loading.channel_image import LoadChannels
    from .loading.channel_statistics import ChannelStatistics, channel_statistics
    from .loading.checked_image import LoadCheckedImage
    from .loading.examples import Examples, draw_examples, join_examples
    from .loading.image_kind import ImageKind, read_header
    from .shapes import ShapesDataset
    from .shards.block_sampler import BlockSampler
    from .shards.shard_datasets import HuggingFaceImages, WebDatasetImages
    from .views.candidate_views import CandidateViews
    from .views.edge_resizing import ResizeEdgeOfChannels
    from .views.pack_views import PackViews

__all__ = [
    'BlockMasks',
    'BlockSampler',
    'CandidateViews',
    'ChannelStatistics',
    'Examples',
    'HuggingFaceImages',
    'ImageKind',
    'LoadChannels',
    'LoadCheckedImage',
    'PackViews',
    'ResizeEdgeOfChannels',
    'ShapesDataset',
    'ViewGeometry',
    'WebDatasetImages',
    'channel_statistics',
    'draw_examples',
    'join_examples',
    'join_images',
    'read_header',
]
