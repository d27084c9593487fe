# A policy behind a websocket, on CPU.
#   docker build -f launch/docker/serve.Dockerfile -t serve .
#   docker run -p 127.0.0.1:8000:8000 -v $PWD/runs/soup:/checkpoint:ro serve
FROM python:3.12.12-slim-bookworm
ENV PYTHONUNBUFFERED=1
WORKDIR /semanticvla_jax
COPY requirements.txt ./
COPY requirements/ requirements/
RUN pip install --no-cache-dir -c requirements/constraints.txt -r requirements.txt \
    -r requirements/serving.txt
COPY configs/ configs/
COPY semanticvla_jax/ semanticvla_jax/
RUN useradd --create-home --uid 1000 server
USER 1000
EXPOSE 8000
CMD ["python", "-m", "semanticvla_jax.serve", "--checkpoint=/checkpoint", "--host=0.0.0.0", "--port=8000"]
