# One image for every part: the command decides (docs/cluster.md). Build it here: docker build -t doorstep .

FROM node:24-slim AS web
WORKDIR /app/web
COPY web/ ./
RUN npm ci --ignore-scripts --no-audit --no-fund && npm run build

# The full image: what has no wheel for this platform is compiled here, and the compiler stays behind.
FROM python:3.12 AS packages
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.lock /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock

FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 doorstep \
    && install -d -o doorstep /data
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY pyproject.toml README.md ./
COPY domain/ domain/
COPY solver/ solver/
COPY persistence/ persistence/
COPY integrations/ integrations/
COPY actors/ actors/
COPY gateway/ gateway/
COPY sim/ sim/
COPY bench/ bench/
COPY doorstep/ doorstep/
COPY --from=web /app/web/dist web/dist
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . && python -m compileall -q . && doorstep --help > /dev/null
USER doorstep
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
# An init that hands signals on and buries what Ray leaves behind.
ENTRYPOINT ["tini", "--"]
CMD ["doorstep", "up", "--host", "0.0.0.0"]
