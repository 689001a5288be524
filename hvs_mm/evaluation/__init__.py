from .features import LabeledFeatures, choose_network, extract_features, feature_networks
from .health import (
    OutputEntropy,
    alignment,
    feature_std,
    image_information,
    output_entropy,
    rank_me,
    uniformity,
)
from .health_hook import HealthHook
from .health_probe import measure_health
from .health_problems import find_problems
from .knn import KNNResult, knn_accuracy
from .knn_evaluation import (
    KNNEvaluation,
    KNNSettings,
    check_configured,
    configured_settings,
    knn_datasets,
    knn_loader,
)
from .knn_hook import KNNHook
from .linear import LinearResult, linear_accuracy
from .operations import count_operations, operation_counter

__all__ = [
    'HealthHook',
    'KNNEvaluation',
    'KNNHook',
    'KNNResult',
    'KNNSettings',
    'LabeledFeatures',
    'LinearResult',
    'OutputEntropy',
    'alignment',
    'check_configured',
    'choose_network',
    'configured_settings',
    'count_operations',
    'extract_features',
    'feature_networks',
    'feature_std',
    'find_problems',
    'image_information',
    'knn_accuracy',
    'knn_datasets',
    'knn_loader',
    'linear_accuracy',
    'measure_health',
    'operation_counter',
    'output_entropy',
    'rank_me',
    'uniformity',
]
