"""Many results to one table: collect -> rules -> cells -> layout -> text.

`seeds` and `summary` read one folder of seeds, CoOp's way; `field` gathers what the field's table
shows. Nothing here needs PyTorch.
"""
