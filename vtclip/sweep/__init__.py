"""Many runs by one command: what runs, where it runs, and what became of it.

`plan` says what runs; an engine (`engines`) carries it out, `local` on this machine; `record` keeps
what became of it in sweep.json, and `table` shows it. A run is the arguments of train.py, so that
its folder and its result are those of train.py.
"""
