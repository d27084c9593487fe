"""Predicted against demonstrated actions, without a robot."""
