from ..utils.state_guard import evaluation_mode
from .collapse import OutputEntropy, output_entropy
from .features import LabeledFeatures, choose_network, extract_features, feature_networks
from .knn import Accuracy, KNNResult, class_votes, knn_accuracy
from .knn_evaluation import (
    KNNEvaluation,
    KNNSettings,
    check_configured,
    configured_settings,
    knn_datasets,
)
from .knn_hook import KNNHook
from .neighbors import nearest_neighbors, unpack_neighbors
from .operations import count_operations, operation_counter

__all__ = [
    'Accuracy',
    'KNNEvaluation',
    'KNNHook',
    'KNNResult',
    'KNNSettings',
    'LabeledFeatures',
    'OutputEntropy',
    'check_configured',
    'choose_network',
    'class_votes',
    'configured_settings',
    'count_operations',
    'evaluation_mode',
    'extract_features',
    'feature_networks',
    'knn_accuracy',
    'knn_datasets',
    'nearest_neighbors',
    'operation_counter',
    'output_entropy',
    'unpack_neighbors',
]
