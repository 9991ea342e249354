# One image for the web server, the workers and the migrations; docker-compose.yml says which is which.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    ALREA_VAR_DIR=/data \
    STATIC_ROOT=/app/static

# Small pictures of films, lengths and shapes of sounds, voice messages.
RUN apt-get update && apt-get install --yes --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements.txt .
RUN sed '/^# Tests and checks/,$d' requirements.txt > runtime.txt && pip install -r runtime.txt

RUN useradd --system --uid 10001 --home-dir /data alrea && install -d -o alrea -g alrea /data
COPY backend backend
WORKDIR /app/backend
# The directory for this one command takes the key that the embedded default would make: none stays in the image.
RUN python -m compileall -q . \
    && ALREA_VAR_DIR=/tmp/build python manage.py collectstatic --noinput \
    && rm -rf /tmp/build

USER alrea
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "uvicorn", "alrea_sense.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--loop", "uvloop", "--ws", "websockets-sansio", "--ws-per-message-deflate", "false", "--lifespan", "on", "--no-access-log", "--timeout-graceful-shutdown", "20"]
