# Training on NVIDIA GPUs; the CUDA libraries are Python packages, the driver is the host's.
#   docker build -f launch/docker/train_gpu.Dockerfile -t train-gpu .
#   docker run --gpus all --shm-size 16g -v /shared:/shared train-gpu \
#       python -m semanticvla_jax.train --config configs/semanticvla_libero.py --workdir /shared/run
FROM python:3.12.12-slim-bookworm
ENV PYTHONUNBUFFERED=1 NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /semanticvla_jax
COPY requirements.txt ./
COPY requirements/ requirements/
RUN pip install --no-cache-dir -c requirements/constraints.txt -r requirements.txt \
    -r requirements/gpu.txt -r requirements/lerobot.txt -r requirements/wandb.txt
COPY configs/ configs/
COPY semanticvla_jax/ semanticvla_jax/
RUN useradd --create-home --uid 1000 trainer && install --directory --owner=trainer /runs
USER 1000
CMD ["python", "-m", "semanticvla_jax.train", "--config=configs/semanticvla_libero.py", "--workdir=/runs/semanticvla"]
