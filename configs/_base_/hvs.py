# Settings that every config of this package needs, whatever its method.
custom_imports = dict(imports=['hvs_mm'], allow_failed_imports=False)

# Resume a killed run exactly where it stopped.
runner_type = 'mmpretrain.ReliableRunner'

# Average the log entries of selection and the terms of iBOT's loss over the window, as MMEngine does
# for the losses.
log_processor = dict(mean_pattern=r'.*(loss|time|data_time|grad_norm|hvs|cls_term|patch_term).*')
