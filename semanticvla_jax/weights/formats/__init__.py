"""The families of checkpoints that can be imported, one file each; registry.py lists them."""
