from .collapse import output_entropy
from .features import LabeledFeatures, choose_network, extract_features, feature_networks
from .knn import KNNResult, knn_accuracy
from .knn_evaluation import (
    KNNEvaluation,
    KNNSettings,
    check_configured,
    configured_settings,
    knn_datasets,
)
from .knn_hook import KNNHook
from .linear import LinearResult, linear_accuracy
from .operations import count_operations, operation_counter

__all__ = [
    'KNNEvaluation',
    'KNNHook',
    'KNNResult',
    'KNNSettings',
    'LabeledFeatures',
    'LinearResult',
    'check_configured',
    'choose_network',
    'configured_settings',
    'count_operations',
    'extract_features',
    'feature_networks',
    'knn_accuracy',
    'knn_datasets',
    'linear_accuracy',
    'operation_counter',
    'output_entropy',
]
