# Training on Cloud TPUs. From the repository's root:
#   docker build -f launch/docker/train_tpu.Dockerfile -t train-tpu .
FROM python:3.12.12-slim-bookworm
ENV PYTHONUNBUFFERED=1
WORKDIR /semanticvla_jax
COPY requirements.txt ./
COPY requirements/ requirements/
RUN pip install --no-cache-dir -c requirements/constraints.txt -r requirements.txt \
    -r requirements/tpu.txt -r requirements/lerobot.txt -r requirements/wandb.txt
COPY configs/ configs/
COPY semanticvla_jax/ semanticvla_jax/
# As root, to whom the TPU's device files belong.
CMD ["python", "-m", "semanticvla_jax.train", "--config=configs/semanticvla_libero.py", "--workdir=/runs/semanticvla"]
