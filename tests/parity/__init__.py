"""Parity with the authors' modules: every reference case, through the product's own import rules.

`python -m tests.parity.check_goldens DIR` checks all cases of a folder; `python -m
tests.parity.mutations DIR` shows that it would notice a rule that is implemented wrongly.
"""
