"""Answers near the hardware's limit: compiled ahead of time, quantised, fused, sharded."""
