"""What a robot needs to ask a policy server: NumPy, msgpack and websockets, and nothing else."""
