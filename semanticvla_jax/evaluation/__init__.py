"""Evaluation: many simulator workers, one batched policy, rows that survive whatever dies."""
