from .backbones.dinov2_vit import DINOv2VisionTransformer
from .backbones.dinov3_vit import DINOv3VisionTransformer
from .backbones.last_layers_vit import LastLayersVisionTransformer
from .backbones.masked_vit import MaskedVisionTransformer
from .backbones.offset_vit import OffsetVisionTransformer
from .backbones.vit_init import ViTTruncNormal
from .channel_preprocessor import ChannelPreprocessor
from .cheap_pass.selection_pass import SelectionPass
from .checks import ViewsError
from .heads.dino_head import DINOHead
from .heads.dinov2_head import DINOv2Head
from .heads.ibot_head import IBOTHead
from .heads.vicreg_head import VICRegHead
from .hvs_algorithm import HVSAlgorithm
from .information_guard import InformationGuard
from .necks.dino_neck import DINONeck
from .necks.dinov2_neck import DINOv2Neck
from .necks.ibot_neck import IBOTNeck
from .necks.simple_feature_pyramid import SimpleFeaturePyramid
from .photometry.device_photometry import DevicePhotometry
from .selection_schedule import SelectionSchedule
from .selfsup.dino import DINO
from .selfsup.dinov2 import DINOv2
from .selfsup.ibot import IBOT
from .selfsup.teacher import is_random
from .selfsup.vicreg import VICReg

__all__ = [
    'DINO',
    'IBOT',
    'ChannelPreprocessor',
    'DINOHead',
    'DINONeck',
    'DINOv2',
    'DINOv2Head',
    'DINOv2Neck',
    'DINOv2VisionTransformer',
    'DINOv3VisionTransformer',
    'DevicePhotometry',
    'HVSAlgorithm',
    'IBOTHead',
    'IBOTNeck',
    'InformationGuard',
    'LastLayersVisionTransformer',
    'MaskedVisionTransformer',
    'OffsetVisionTransformer',
    'SelectionPass',
    'SelectionSchedule',
    'SimpleFeaturePyramid',
    'VICReg',
    'VICRegHead',
    'ViTTruncNormal',
    'ViewsError',
    'is_random',
]
