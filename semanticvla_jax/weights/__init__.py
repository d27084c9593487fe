"""Weights in and out: rules from other formats' parameter names to ours."""
