"""What a policy server adds to its policy: latency and throughput by clients, memory over hours."""
