"""The objects, furniture and rooms of LIBERO: found on this machine, downloaded or generated."""

from semanticvla_jax.libero.assets.resolve import Assets, resolve_assets

__all__ = ["Assets", "resolve_assets"]
