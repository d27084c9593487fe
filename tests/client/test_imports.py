"""The client is thin: a robot's computer needs none of the rest."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import pkgutil, sys, importlib
import semanticvla_jax.client as client
for module in pkgutil.iter_modules(client.__path__):
    importlib.import_module(f"semanticvla_jax.client.{module.name}")
roots = {name.partition(".")[0] for name, module in sys.modules.items()
         if "site-packages" in (getattr(module, "__file__", None) or "")}
ours = sorted(name for name in sys.modules if name.startswith("semanticvla_jax."))
print(sorted(roots), [name for name in ours if not name.startswith("semanticvla_jax.client")])
"""


def test_the_client_needs_numpy_msgpack_and_websockets_only():
    # -I and -S with the path given: no .pth file of an editable install may import more.
    paths = [path for path in sys.path if path]
    code = f"import sys; sys.path[:0] = {paths!r}\n{CODE}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "['msgpack', 'numpy', 'websockets'] []", done.stderr
