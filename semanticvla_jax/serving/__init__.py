"""A policy behind a websocket: batching across clients, limits, metrics, drain and hot swap."""
