# hvs-mm with all that `hvs-mm` needs, on GPU and CPU: the wheels of torch bring CUDA, the host only its driver.
#
#   docker build -t hvs-mm .
#   docker run --rm --gpus all --ipc=host -v "$PWD:/data" hvs-mm train --data images --out runs/first
#
# For machines without a GPU, several GB smaller:
#
#   docker build -t hvs-mm:cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
FROM python:3.11-slim-bookworm

# The compiler is for torch.compile, the libraries for OpenCV.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++=4:12.* libgl1=1.* libglib2.0-0=2.* \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY requirements requirements
RUN pip install --no-cache-dir -c requirements/constraints-onedl.txt pip
# In two steps: torch is large and changes seldom. A build without CUDA satisfies the constraint, too.
ARG TORCH_INDEX=https://pypi.org/simple
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" -c requirements/constraints-onedl.txt torch torchvision
COPY . .
RUN pip install --no-cache-dir --build-constraint requirements/constraints-onedl.txt \
        -c requirements/constraints-onedl.txt ".[onedl,export]" \
    && useradd --create-home --uid 1000 user

USER 1000
WORKDIR /data
ENTRYPOINT ["hvs-mm"]
CMD ["--help"]
