# syntax=docker/dockerfile:1
# c2f with its weights; nothing is fetched when it runs. For a CPU:
#     docker build -t c2f .
# for a GPU (torch brings its CUDA libraries; another BASE, such as one of nvidia/cuda with Python 3, does as well):
#     docker build -t c2f-cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# and then:
#     docker run --rm --network none --user "$(id -u)" -v "$PWD:/data" c2f segment my_ct.nii.gz mask.nii.gz
# with --gpus all for a GPU.
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# A base of CUDA alone comes without Python's venv.
RUN python3 -m venv --help > /dev/null 2>&1 \
    || (apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv && rm -rf /var/lib/apt/lists/*)
RUN python3 -m venv /opt/c2f
ENV PATH=/opt/c2f/bin:$PATH PYTHONUNBUFFERED=1 C2F_MONAI_CACHE=/tmp/c2f MPLCONFIGDIR=/tmp/matplotlib

# torch first, alone and from its own index, as in the Makefile; it changes less often than the sources.
COPY constraints.txt /src/
RUN pip install --no-cache-dir --no-deps --index-url "${TORCH_INDEX}" "$(grep '^torch==' /src/constraints.txt)"
COPY setup.cfg pyproject.toml README.md LICENSE /src/
COPY bundle /src/bundle
COPY configs /src/configs
COPY c2f_monai /src/c2f_monai
RUN pip install --no-cache-dir --constraint /src/constraints.txt /src && rm -rf /src && pip check && c2f --version

RUN useradd --create-home c2f
USER c2f
WORKDIR /data
ENTRYPOINT ["c2f"]
CMD ["--help"]
