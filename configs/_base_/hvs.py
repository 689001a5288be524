# Settings that every config of this package needs, whatever its method.
_base_ = []

from hvs_mm.hardening import runtime_settings

globals().update(runtime_settings(_base_))
