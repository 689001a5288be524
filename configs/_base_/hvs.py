# What a config needs to use this package, whatever its method.
custom_imports = dict(imports=['hvs_mm'], allow_failed_imports=False)

# A run that was killed goes on where it was.
runner_type = 'mmpretrain.ReliableRunner'

# Average what selection logs, and the terms of iBOT's loss, over the window, as MMEngine does for
# the losses.
log_processor = dict(mean_pattern=r'.*(loss|time|data_time|grad_norm|hvs|cls_term|patch_term).*')
