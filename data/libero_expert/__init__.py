"""LIBERO demonstrations by the scripted expert, written as a TFDS/RLDS dataset.

    python -m data.libero_expert --suite libero_object --tasks 0 --episodes 120 --out datasets/soup

Two phases that never share a process, because TensorFlow and Mesa's software GL crash together:
worker processes simulate and leave one staged file per attempt; then one TensorFlow process writes
the staged episodes in the layout of the public `libero_*_no_noops` datasets.
"""
