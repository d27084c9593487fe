"""Training: parameter selection, sharding, optimizer, step, checkpoints, metrics."""
