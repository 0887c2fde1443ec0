"""The command lines: parse, call one function, print. One module each, and the table of them.

The scripts at the top level of a checkout and the console command `vtclip` run the same modules.
Nothing here imports PyTorch before the arguments are known to be good.
"""
