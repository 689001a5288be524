from .backbone_weights import BackboneLoad, backbone_state, load_backbone
from .backbones import LastLayersVisionTransformer, MaskedVisionTransformer
from .checks import ViewsError, check_batch_size
from .heads import DINOHead, IBOTHead, check_warmup_epochs
from .hvs_algorithm import HVSAlgorithm, selecting_model
from .necks import DINONeck, IBOTNeck, SimpleFeaturePyramid
from .photometry import DevicePhotometry
from .pretrained import PretrainedBackbone, check_checkpoint_given
from .selection_pass import SelectionPass
from .selection_schedule import SelectionSchedule
from .selfsup import DINO, IBOT
from .selfsup.teacher import is_random
from .state import preserve_state
from .vit_init import ViTTruncNormal

__all__ = [
    'DINO',
    'IBOT',
    'BackboneLoad',
    'DINOHead',
    'DINONeck',
    'DevicePhotometry',
    'HVSAlgorithm',
    'IBOTHead',
    'IBOTNeck',
    'LastLayersVisionTransformer',
    'MaskedVisionTransformer',
    'PretrainedBackbone',
    'SelectionPass',
    'SelectionSchedule',
    'SimpleFeaturePyramid',
    'ViTTruncNormal',
    'ViewsError',
    'backbone_state',
    'check_batch_size',
    'check_checkpoint_given',
    'check_warmup_epochs',
    'is_random',
    'load_backbone',
    'preserve_state',
    'selecting_model',
]
