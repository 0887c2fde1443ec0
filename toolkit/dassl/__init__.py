"""A small implementation of the Dassl.pytorch contract for TrainerX plug-ins.

`STAND_IN` tells this package from Dassl.pytorch itself, which has the same import name.
"""

__version__ = "0.1.0"
STAND_IN = True
