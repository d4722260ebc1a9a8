# docker build --file docker/cuda.Dockerfile --tag stampbench:cuda .
# docker run --rm --gpus all --user "$(id -u):$(id -g)" --volume "$PWD/data:/data:ro" --volume "$PWD/runs:/work/runs" \
#   stampbench:cuda run --device cuda --strategy stamp_plus --dataset hippocampus --folds 0
# PyTorch's wheels from PyPI contain CUDA and cuDNN; the host needs NVIDIA's driver and container toolkit only.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/stampbench \
    && /opt/stampbench/bin/pip install --no-cache-dir --constraint constraints.txt ".[depgraph,export,formats,gpu,ray,slurm]"

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 stampbench \
    && install --directory --owner stampbench --mode 0777 /data /cache /work /work/runs
COPY --from=build /opt/stampbench /opt/stampbench
ENV PATH=/opt/stampbench/bin:$PATH \
    HOME=/tmp \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all \
    STAMPBENCH_CACHE=/cache \
    STAMPBENCH_DATA=/data
USER 1000:1000
WORKDIR /work
VOLUME ["/data", "/cache", "/work/runs"]
ENTRYPOINT ["stampbench"]
CMD ["doctor"]
