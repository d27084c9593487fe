"""LIBERO on a machine without a display: environment, assets, expert and rollouts."""
