# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/model-sizing \
    && /opt/model-sizing/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY service ./service
COPY migrations ./migrations
RUN /opt/model-sizing/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/model-sizing/bin/pip uninstall --yes pip

FROM python:3.13-slim
COPY --from=build /opt/model-sizing /opt/model-sizing
RUN install -d -o 10001 -g 10001 /data
ENV PATH=/opt/model-sizing/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MODEL_SIZING_HOST=0.0.0.0 \
    MODEL_SIZING_PORT=8000 \
    MODEL_SIZING_DATABASE_URL=sqlite:////data/catalog.db
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['MODEL_SIZING_PORT'] + '/livez', timeout=2)"]
CMD ["python", "-m", "service"]
