"""Demonstrations to batches: RLDS files, images, normalisation, chunks. TensorFlow-free."""
