# Evaluation in the LIBERO simulator: the policy on CPU; rendering by OSMesa, or by EGL on a GPU with
# `--gpus all --env MUJOCO_GL=egl`.
#   docker build -f launch/docker/evaluate.Dockerfile -t evaluate .
#   docker run -v $PWD/runs/soup:/checkpoint:ro -v $PWD/results:/results evaluate
FROM python:3.12.12-slim-bookworm
ENV PYTHONUNBUFFERED=1 NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility
RUN apt-get update \
    && apt-get install -y --no-install-recommends libosmesa6 libegl1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /semanticvla_jax
COPY requirements.txt ./
COPY requirements/ requirements/
RUN pip install --no-cache-dir -c requirements/constraints.txt -r requirements.txt \
    && pip install --no-cache-dir --no-deps -r requirements/simulator.txt
COPY configs/ configs/
COPY semanticvla_jax/ semanticvla_jax/
RUN useradd --create-home --uid 1000 evaluator && install --directory --owner=evaluator /results
USER 1000
CMD ["python", "-m", "semanticvla_jax.evaluate", "--checkpoint=/checkpoint", "--suite=libero_object", "--out=/results"]
