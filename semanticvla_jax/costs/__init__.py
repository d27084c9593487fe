"""What an inference costs: FLOPs by tracing, parameters, tokens, and lower bounds of its time."""
