"""Accelerators in one table: success in LIBERO, calls, tokens, FLOPs, latency, speed-up."""
