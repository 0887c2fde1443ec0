"""Many results to one table: collect -> sections -> comparability -> cells -> layout -> render.

`seeds` and `summary` read one folder of seeds and print it as CoOp's parser does. `benchmark_table`
loads the results of many methods, datasets and shots for one table. Nothing here needs PyTorch.
"""
