# docker build -t dipsim . && docker run --rm -v "$PWD:/work" dipsim estimate phi-3-medium --profile oneplus-12-ufs4
FROM python:3.11-slim
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -r /src
# Kernels are compiled once, into the image.
RUN dipsim demo -o /tmp/demo && rm -r /tmp/demo
WORKDIR /work
ENTRYPOINT ["dipsim"]
CMD ["--help"]
