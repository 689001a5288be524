from .collapse import OutputEntropy, output_entropy
from .features import (
    LabeledFeatures,
    choose_network,
    evaluation_mode,
    extract_features,
    feature_networks,
)
from .importance import (
    Correlation,
    Importance,
    check_importance,
    correlate,
    pair_properties,
    rank_importance,
    varying,
    within_images,
)
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

__all__ = [
    'Accuracy',
    'Correlation',
    'Importance',
    'KNNEvaluation',
    'KNNHook',
    'KNNResult',
    'KNNSettings',
    'LabeledFeatures',
    'OutputEntropy',
    'check_configured',
    'check_importance',
    'choose_network',
    'class_votes',
    'configured_settings',
    'correlate',
    'evaluation_mode',
    'extract_features',
    'feature_networks',
    'knn_accuracy',
    'knn_datasets',
    'nearest_neighbors',
    'output_entropy',
    'pair_properties',
    'rank_importance',
    'unpack_neighbors',
    'varying',
    'within_images',
]
