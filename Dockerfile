# One image for every role; the role is the command: `--role api`, `--role im`, `--role rtc`, `--role worker` (or `all`).
FROM python:3.11-slim AS build
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE NOTICE /src/
COPY app /src/app
COPY core /src/core
COPY im /src/im
COPY integrations /src/integrations
COPY rtc /src/rtc
COPY storage /src/storage
RUN python -m venv /opt/hospital \
    && /opt/hospital/bin/pip install --no-cache-dir --constraint /src/constraints.txt /src

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home hospital \
    && install --directory --owner hospital /var/lib/hospital/recordings /var/lib/hospital/films
COPY --from=build /opt/hospital /opt/hospital
ENV PATH=/opt/hospital/bin:$PATH PYTHONUNBUFFERED=1 PRODUCTION=true STAFF_SECOND_FACTOR=required LISTEN_HOST=0.0.0.0 LISTEN_PORT=8080
WORKDIR /srv
USER hospital
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "app"]
CMD ["--role", "all"]
