"""LIBERO's own HDF5 demonstrations converted to RLDS.

    python -m data.libero_hdf5 datasets/libero_object --suite libero_object --out datasets

Per file `TASK_demo.hdf5`, per `data/demo_N`: no-ops dropped, both cameras rotated by 180 degrees,
state = end-effector position and axis-angle, two finger positions; the instruction is the file's
name in words.

Two things to know. In these files observation j was recorded *after* action j (LIBERO's
create_dataset.py), so observation j is paired here with action j + 1. And images are 128 x 128 as
stored: the public `modified_libero_rlds` were rendered anew at 256 in the simulator, replaying the
actions that are no no-ops, which this program does not do.
"""
