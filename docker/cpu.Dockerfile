# docker build --file docker/cpu.Dockerfile --tag stampbench:cpu .
# docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD/data:/data:ro" --volume "$PWD/runs:/work/runs" \
#   stampbench:cpu run --strategy stamp_plus --dataset hippocampus --folds 0
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m venv /opt/stampbench \
    && /opt/stampbench/bin/pip install --no-cache-dir --constraint constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu ".[depgraph,export,formats,ray,slurm]"

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 stampbench \
    && install --directory --owner stampbench --mode 0777 /data /cache /work /work/runs
COPY --from=build /opt/stampbench /opt/stampbench
ENV PATH=/opt/stampbench/bin:$PATH \
    HOME=/tmp \
    STAMPBENCH_CACHE=/cache \
    STAMPBENCH_DATA=/data
USER 1000:1000
WORKDIR /work
VOLUME ["/data", "/cache", "/work/runs"]
ENTRYPOINT ["stampbench"]
CMD ["doctor"]
