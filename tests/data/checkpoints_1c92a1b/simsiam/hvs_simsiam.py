custom_hooks = [
    dict(
        adjust_by_epoch=False,
        fix_pred_lr=True,
        lr=0.1,
        priority='HIGH',
        type='SimSiamHook'),
    dict(type='ProgressHook'),
]
custom_imports = dict(
    allow_failed_imports=False, imports=[
        'hvs_mm',
    ])
data_preprocessor = dict(
    _scope_='mmpretrain',
    mean=[
        123.675,
        116.28,
        103.53,
    ],
    std=[
        58.395,
        57.12,
        57.375,
    ],
    to_rgb=True,
    type='SelfSupDataPreprocessor')
data_root = 'data/imagenet/'
dataset_type = 'ImageNet'
default_hooks = dict(
    checkpoint=dict(
        _scope_='mmpretrain',
        interval=1,
        max_keep_ckpts=3,
        type='CheckpointHook'),
    finite_step=dict(type='FiniteStepHook'),
    logger=dict(_scope_='mmpretrain', interval=16, type='LoggerHook'),
    panel=dict(type='SelectionPanelHook'),
    param_scheduler=dict(_scope_='mmpretrain', type='ParamSchedulerHook'),
    sampler_seed=dict(_scope_='mmpretrain', type='DistSamplerSeedHook'),
    selection=dict(interval=16, type='SelectionStatsHook'),
    timer=dict(_scope_='mmpretrain', type='IterTimerHook'),
    visualization=dict(
        _scope_='mmpretrain', enable=False, type='VisualizationHook'))
default_scope = 'mmpretrain'
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
flip = dict(prob=0.5, type='RandomFlip')
knn_pipeline = [
    dict(interpolation='area', scale=48, type='Resize'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
    dict(type='PackInputs'),
]
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(
    mean_pattern='.*(loss|time|data_time|grad_norm|hvs|cls_term|patch_term).*')
lr = 0.1
model = dict(
    algorithm=dict(
        _scope_='mmpretrain',
        backbone=dict(
            base_channels=4,
            depth=18,
            dilations=(
                1,
                1,
                1,
            ),
            norm_cfg=dict(type='BN'),
            num_stages=3,
            out_indices=(2, ),
            stem_channels=4,
            strides=(
                2,
                2,
                2,
            ),
            type='ResNet_CIFAR',
            zero_init_residual=False),
        head=dict(
            loss=dict(type='CosineSimilarityLoss'),
            predictor=dict(
                hid_channels=8,
                in_channels=16,
                out_channels=16,
                type='NonLinearNeck',
                with_avg_pool=False,
                with_last_bias=True,
                with_last_bn=False),
            type='LatentPredictHead'),
        neck=dict(
            hid_channels=16,
            in_channels=16,
            num_layers=2,
            out_channels=16,
            type='NonLinearNeck',
            with_avg_pool=True,
            with_last_bn_affine=False),
        type='SimSiam'),
    candidates=[
        4,
    ],
    keep=[
        2,
    ],
    type='HVSAlgorithm')
network = dict(
    base_channels=16,
    depth=18,
    dilations=(
        1,
        1,
        1,
    ),
    norm_cfg=dict(type='BN'),
    num_stages=3,
    out_indices=(2, ),
    stem_channels=8,
    strides=(
        2,
        2,
        2,
    ),
    type='ResNet_CIFAR',
    zero_init_residual=False)
optim_wrapper = dict(
    _scope_='mmpretrain',
    optimizer=dict(lr=0.1, momentum=0.9, type='SGD', weight_decay=0.0001),
    paramwise_cfg=dict(custom_keys=dict(predictor=dict(fix_lr=True))),
    type='OptimWrapper')
pair_dataset = dict(
    num_samples=2048,
    pipeline=[
        dict(
            num_views=2,
            transforms=[
                [
                    dict(
                        crop_ratio_range=(
                            0.2,
                            0.5,
                        ),
                        scale=32,
                        type='RandomResizedCrop'),
                    dict(prob=0.5, type='RandomFlip'),
                    dict(
                        channel_weights=(
                            0.114,
                            0.587,
                            0.2989,
                        ),
                        keep_channels=True,
                        prob=1.0,
                        type='RandomGrayscale'),
                ],
            ],
            type='MultiView'),
        dict(type='PackInputs'),
    ],
    split='train',
    type='ShapesDataset')
pair_schedule = [
    dict(
        T_max=8,
        begin=0,
        by_epoch=True,
        convert_to_iter_based=True,
        end=8,
        type='CosineAnnealingLR'),
]
pair_views = [
    dict(crop_ratio_range=(
        0.2,
        0.5,
    ), scale=32, type='RandomResizedCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
]
param_scheduler = [
    dict(
        T_max=8,
        begin=0,
        by_epoch=True,
        convert_to_iter_based=True,
        end=8,
        type='CosineAnnealingLR'),
]
randomness = dict(deterministic=False, seed=0)
resume = False
runner_type = 'mmpretrain.ReliableRunner'
shapes = dict(num_samples=2048, split='train', type='ShapesDataset')
to_gray = dict(
    channel_weights=(
        0.114,
        0.587,
        0.2989,
    ),
    keep_channels=True,
    prob=1.0,
    type='RandomGrayscale')
train_cfg = dict(
    _scope_='mmpretrain', max_epochs=2, type='EpochBasedTrainLoop')
train_dataloader = dict(
    batch_size=32,
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        num_samples=128,
        pipeline=[
            dict(
                num_views=[
                    4,
                ],
                transforms=[
                    [
                        dict(
                            crop_ratio_range=(
                                0.2,
                                0.5,
                            ),
                            scale=32,
                            type='RandomResizedCrop'),
                        dict(prob=0.5, type='RandomFlip'),
                        dict(
                            channel_weights=(
                                0.114,
                                0.587,
                                0.2989,
                            ),
                            keep_channels=True,
                            prob=1.0,
                            type='RandomGrayscale'),
                    ],
                ],
                type='CandidateViews'),
            dict(type='PackViews'),
        ],
        split='train',
        type='ShapesDataset'),
    drop_last=True,
    num_workers=0,
    persistent_workers=False,
    pin_memory=False,
    sampler=dict(_scope_='mmpretrain', shuffle=True, type='DefaultSampler'))
train_pipeline = [
    dict(_scope_='mmpretrain', type='LoadImageFromFile'),
    dict(
        _scope_='mmpretrain',
        num_views=2,
        transforms=[
            [
                dict(
                    backend='pillow',
                    crop_ratio_range=(
                        0.2,
                        1.0,
                    ),
                    scale=224,
                    type='RandomResizedCrop'),
                dict(
                    prob=0.8,
                    transforms=[
                        dict(
                            brightness=0.4,
                            contrast=0.4,
                            hue=0.1,
                            saturation=0.4,
                            type='ColorJitter'),
                    ],
                    type='RandomApply'),
                dict(
                    channel_weights=(
                        0.114,
                        0.587,
                        0.2989,
                    ),
                    keep_channels=True,
                    prob=0.2,
                    type='RandomGrayscale'),
                dict(
                    magnitude_range=(
                        0.1,
                        2.0,
                    ),
                    magnitude_std='inf',
                    prob=0.5,
                    type='GaussianBlur'),
                dict(prob=0.5, type='RandomFlip'),
            ],
        ],
        type='MultiView'),
    dict(_scope_='mmpretrain', type='PackInputs'),
]
view_pipeline = [
    dict(crop_ratio_range=(
        0.2,
        0.5,
    ), scale=32, type='RandomResizedCrop'),
    dict(prob=0.5, type='RandomFlip'),
    dict(
        channel_weights=(
            0.114,
            0.587,
            0.2989,
        ),
        keep_channels=True,
        prob=1.0,
        type='RandomGrayscale'),
]
vis_backends = [
    dict(_scope_='mmpretrain', type='LocalVisBackend'),
]
visualizer = dict(
    _scope_='mmpretrain',
    type='UniversalVisualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
    ])
work_dir = 'simsiam'
