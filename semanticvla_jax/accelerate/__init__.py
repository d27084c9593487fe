"""Inference accelerators: what to compute less of, for policies that are trained already."""
