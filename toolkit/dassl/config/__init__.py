from dassl.config.cleaning import clean_cfg
from dassl.config.defaults import get_cfg_default

__all__ = ["clean_cfg", "get_cfg_default"]
