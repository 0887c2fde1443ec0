"""What a machine with a GPU shows of this project: `python -m benchmarks.check_gpu`."""
