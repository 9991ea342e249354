"""Settings of ALREA Sense, all of them read from the environment. docs/settings.md explains each."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import cast

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from alrea_sense import env
from alrea_sense.amqp_url import checked as amqp_url
from alrea_sense.redis_url import channel_host, checked, sentinels, with_database

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("ALREA_VAR_DIR", str(BASE_DIR.parent / "var")))

DEBUG = env.flag("DEBUG", False)
ALLOWED_HOSTS = env.listing("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.listing("CSRF_TRUSTED_ORIGINS", [])
PUBLIC_URL = env.text("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")
# Shown on the login page by `make run`: "email:password".
_demo_email, _, _demo_password = env.text("DEMO_LOGIN").partition(":")
DEMO_LOGIN = {"email": _demo_email, "password": _demo_password} if _demo_password else None

# --- databases ------------------------------------------------------------------------------------
DATABASE_URL = env.text("DATABASE_URL")


def _database() -> dict[str, object]:
    if not DATABASE_URL:
        VAR_DIR.mkdir(parents=True, exist_ok=True)
    try:
        config = dict(dj_database_url.parse(DATABASE_URL or f"sqlite:///{VAR_DIR / 'alrea.sqlite3'}"))
    except (dj_database_url.ParseError, dj_database_url.UnknownSchemeError, ValueError):
        raise ImproperlyConfigured(
            "DATABASE_URL must look like postgresql://user:password@host:5432/name or sqlite:////path/to/file."
        ) from None
    if config["ENGINE"] == "django.db.backends.sqlite3":
        # FULL: a claim that is not on disk before the POST would be a double send after a power cut.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000;",
        }
        config["CONN_MAX_AGE"] = None  # a file: opening it anew for each request costs more than keeping it
        config["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
    elif config["ENGINE"] == "django.db.backends.postgresql":
        config["ENGINE"] = "alrea_sense.postgresql"
        config["CONN_MAX_AGE"] = None
        if env.flag("DATABASE_PREPARED", True):  # Django switches it off, for poolers that cannot
            config["OPTIONS"] = {
                **cast("dict[str, object]", config.get("OPTIONS", {})),
                "prepare_threshold": 5,
            }
    else:
        raise ImproperlyConfigured(
            "DATABASE_URL must name PostgreSQL (postgresql://…) or SQLite (sqlite:///…)."
        )
    return config


DATABASES = {"default": _database()}
EMBEDDED = DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- secrets --------------------------------------------------------------------------------------


def _secret_key() -> str:
    """The key from the environment; on the embedded database, one made on first use and kept beside the data."""
    given = env.text("SECRET_KEY")
    if given:
        if len(given) < 32 or given.startswith(("change-me", "django-insecure")):
            raise ImproperlyConfigured(
                "SECRET_KEY must be a random text of 32 characters or more, not a sample."
            )
        return given
    if not EMBEDDED:
        raise ImproperlyConfigured("SECRET_KEY is missing: set it to a random text of 32 characters or more.")
    kept = VAR_DIR / "secret_key"
    if not kept.exists():
        VAR_DIR.mkdir(parents=True, exist_ok=True)
        kept.touch(mode=0o600)
        kept.write_text(secrets.token_urlsafe(48))
    return kept.read_text().strip()


SECRET_KEY = _secret_key()
# Keys that seal credentials in the database; the first seals, all open. Defaults to one derived from SECRET_KEY.
CHAT_SECRETS_KEYS = env.listing("CHAT_SECRETS_KEYS", [])
if DEBUG and not EMBEDDED and not env.flag("ALLOW_DEBUG", False):
    raise ImproperlyConfigured(
        "DEBUG must be 0 with PostgreSQL (or set ALLOW_DEBUG=1 on a developer's machine)."
    )

# --- Redis: one server, one database number per use -----------------------------------------------
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6379/0")


def _redis(given: str, name: str, database: int) -> str:
    """The URL of one use: its own, or `database` of REDIS_URL."""
    return checked(given, name) if given else with_database(REDIS_URL, database)


CACHE_REDIS_URL = _redis(env.text("CACHE_REDIS_URL"), "CACHE_REDIS_URL", 0)
CHANNELS_REDIS_URL = _redis(env.text("CHANNELS_REDIS_URL"), "CHANNELS_REDIS_URL", 1)
CHAT_QUEUE_REDIS_URL = _redis(env.text("CHAT_QUEUE_REDIS_URL"), "CHAT_QUEUE_REDIS_URL", 2)
CHAT_STREAM_REDIS_URL = _redis(env.text("CHAT_STREAM_REDIS_URL"), "CHAT_STREAM_REDIS_URL", 3)
CHAT_PACE_REDIS_URL = _redis(env.text("CHAT_PACE_REDIS_URL"), "CHAT_PACE_REDIS_URL", 4)

_pool = {"pool_class": "apps.chat.redis_clients.SentinelPool"} if sentinels(CACHE_REDIS_URL) else {}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [
            CACHE_REDIS_URL
        ],  # a list: Django splits a text at commas, which lists of sentinels have
        "OPTIONS": {"socket_connect_timeout": 0.5, "socket_timeout": 1, **_pool},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [channel_host(CHANNELS_REDIS_URL)], "prefix": "chat"},
    }
}

# --- chat: names of the seeds, then ours ----------------------------------------------------------
CHAT_STREAM_REDIS_PREFIX = env.text("CHAT_STREAM_REDIS_PREFIX", "chat:stream:")
CHAT_STREAM_SEND_NAME = env.text("CHAT_STREAM_SEND_NAME", CHAT_STREAM_REDIS_PREFIX + "send_message")
CHAT_STREAM_MARK_READ_NAME = env.text("CHAT_STREAM_MARK_READ_NAME", CHAT_STREAM_REDIS_PREFIX + "mark_as_read")
CHAT_STREAM_DLQ_NAME = env.text("CHAT_STREAM_DLQ_NAME", CHAT_STREAM_REDIS_PREFIX + "dead_letter")
CHAT_STREAM_CONSUMER_GROUP = env.text("CHAT_STREAM_CONSUMER_GROUP", "chat_send_workers")
CHAT_STREAM_CONSUMER_NAME = env.text("CHAT_STREAM_CONSUMER_NAME")
CHAT_STREAM_MAXLEN = env.whole("CHAT_STREAM_MAXLEN", 5000, least=1)
CHAT_STREAM_DLQ_MAXLEN = env.whole("CHAT_STREAM_DLQ_MAXLEN", 2000, least=1)
CHAT_STREAM_MAX_RETRIES = env.whole("CHAT_STREAM_MAX_RETRIES", 5, least=1, most=1000)
CHAT_STREAM_RECLAIM_IDLE_MS = env.whole("CHAT_STREAM_RECLAIM_IDLE_MS", 60_000, least=100)
CHAT_STREAM_BLOCK_TIMEOUT_MS = env.whole("CHAT_STREAM_BLOCK_TIMEOUT_MS", 5000, least=10, most=60_000)

CHAT_SEND_TRANSPORT = env.choice("CHAT_SEND_TRANSPORT", "stream", ["stream", "list"])
CHAT_HTTP_TRANSPORT = env.choice("CHAT_HTTP_TRANSPORT", "native", ["native", "httpx"])
CHAT_SEND_CONCURRENCY = env.whole("CHAT_SEND_CONCURRENCY", 32, least=1, most=4096)
CHAT_SEND_LEASE_SECONDS = env.number("CHAT_SEND_LEASE_SECONDS", 120, least=1)
CHAT_SEND_TIMEOUT_SECONDS = env.number("CHAT_SEND_TIMEOUT_SECONDS", 90, least=0.5)
CHAT_SEND_FENCE_SECONDS = env.number("CHAT_SEND_FENCE_SECONDS", 10, least=0.1)
CHAT_SEND_SETTLE_SECONDS = env.number("CHAT_SEND_SETTLE_SECONDS", 95, least=0.1)
CHAT_DELIVERY_MODE = env.choice(
    "CHAT_DELIVERY_MODE", "verified", ["verified", "at_most_once", "at_least_once"]
)
CHAT_RETRY_BASE_SECONDS = env.number("CHAT_RETRY_BASE_SECONDS", 2, least=0.01)
CHAT_RETRY_MAX_SECONDS = env.number("CHAT_RETRY_MAX_SECONDS", 300, least=0.01)
CHAT_SWEEP_INTERVAL_SECONDS = env.number("CHAT_SWEEP_INTERVAL_SECONDS", 1, least=0.05)
CHAT_SWEEP_AFTER_SECONDS = env.number("CHAT_SWEEP_AFTER_SECONDS", 15, least=0.1)
CHAT_HEARTBEAT_SECONDS = env.number("CHAT_HEARTBEAT_SECONDS", 3, least=0.1)
CHAT_HEARTBEAT_DEAD_SECONDS = env.number("CHAT_HEARTBEAT_DEAD_SECONDS", 10, least=0.3)
CHAT_DRAIN_SECONDS = env.number("CHAT_DRAIN_SECONDS", 25, least=0)
CHAT_PACE_RATE = env.number("CHAT_PACE_RATE", 80, least=0, most=100_000)
CHAT_PACE_BURST = env.whole("CHAT_PACE_BURST", 400, least=1, most=1_000_000)
CHAT_COLD_CONTACT_DAILY_CAP = env.whole("CHAT_COLD_CONTACT_DAILY_CAP", 0, least=0)
CHAT_STALE_AFTER_SECONDS = env.number("CHAT_STALE_AFTER_SECONDS", 0, least=0)
CHAT_LIST_CONCURRENCY = env.whole("CHAT_LIST_CONCURRENCY", 8, least=1, most=256)
CHAT_LIST_MAX_RETRIES = env.whole("CHAT_LIST_MAX_RETRIES", 5, least=1, most=1000)
CHAT_LIST_SAME_SECONDS = env.number("CHAT_LIST_SAME_SECONDS", 300, least=0.001)
CHAT_LIST_GIVE_UP_SECONDS = env.number("CHAT_LIST_GIVE_UP_SECONDS", 86_400, least=1)
CHAT_LIST_MAXLEN = env.whole("CHAT_LIST_MAXLEN", 50_000, least=1)
CHAT_LIST_DEAD_MAXLEN = env.whole("CHAT_LIST_DEAD_MAXLEN", 2000, least=1)
CHAT_INFO_STALE_SECONDS = env.number("CHAT_INFO_STALE_SECONDS", 86_400, least=0)
CHAT_GROUP_INFO_SECONDS = env.number("CHAT_GROUP_INFO_SECONDS", 2, least=0)
CHAT_PICTURE_SECONDS = env.number("CHAT_PICTURE_SECONDS", 0.2, least=0)
CHAT_PICTURE_MAX_BYTES = env.whole("CHAT_PICTURE_MAX_BYTES", 2 * 1024 * 1024, least=1024)
CHAT_DISABLE_ASGI_CONSUMERS = env.flag("CHAT_DISABLE_ASGI_CONSUMERS", False)
CHAT_ASGI_SEND_WORKERS = env.whole("CHAT_ASGI_SEND_WORKERS", 1, least=0, most=64)
CHAT_ASGI_MARK_WORKERS = env.whole("CHAT_ASGI_MARK_WORKERS", 1, least=0, most=64)
CHAT_HTTP_THREADS = env.whole("CHAT_HTTP_THREADS", 8, least=1, most=256)
CHAT_FAIL_AT = env.text("CHAT_FAIL_AT")
CHAT_REALTIME_KEEP = env.whole("CHAT_REALTIME_KEEP", 1000, least=10)
CHAT_WEBHOOK_MAX_BYTES = env.whole("CHAT_WEBHOOK_MAX_BYTES", 32 * 1024 * 1024, least=1024)
EVOLUTION_URL = env.text("EVOLUTION_URL").rstrip("/")
EVOLUTION_API_KEY = env.text("EVOLUTION_API_KEY")
CHAT_EVOLUTION_ADMIN_SECONDS = env.number("CHAT_EVOLUTION_ADMIN_SECONDS", 40, least=0.5)
CHAT_JOURNAL_RETENTION_DAYS = env.number("CHAT_JOURNAL_RETENTION_DAYS", 30, least=0)
CHAT_HEAL_SECONDS = env.number("CHAT_HEAL_SECONDS", 180, least=0)
CHAT_MAX_TEXT = 65_536

# --- media ----------------------------------------------------------------------------------------
_MIB = 1024 * 1024
CHAT_MEDIA_MAX_IMAGE_BYTES = env.whole("CHAT_MEDIA_MAX_IMAGE_BYTES", 16 * _MIB, least=1024)
CHAT_MEDIA_MAX_VIDEO_BYTES = env.whole("CHAT_MEDIA_MAX_VIDEO_BYTES", 100 * _MIB, least=1024)
CHAT_MEDIA_MAX_AUDIO_BYTES = env.whole("CHAT_MEDIA_MAX_AUDIO_BYTES", 32 * _MIB, least=1024)
CHAT_MEDIA_MAX_DOCUMENT_BYTES = env.whole("CHAT_MEDIA_MAX_DOCUMENT_BYTES", 100 * _MIB, least=1024)
CHAT_MEDIA_MAX_STICKER_BYTES = env.whole("CHAT_MEDIA_MAX_STICKER_BYTES", 2 * _MIB, least=1024)
CHAT_MEDIA_MAX_PIXELS = env.whole("CHAT_MEDIA_MAX_PIXELS", 64_000_000, least=10_000)
CHAT_MEDIA_BYTES_PER_SECOND = env.whole("CHAT_MEDIA_BYTES_PER_SECOND", 500_000, least=1000)
CHAT_MEDIA_INLINE_BYTES = env.whole("CHAT_MEDIA_INLINE_BYTES", _MIB, least=0, most=3 * _MIB)
CHAT_MEDIA_CONCURRENCY = env.whole("CHAT_MEDIA_CONCURRENCY", 4, least=1, most=64)
CHAT_MEDIA_TIMEOUT_SECONDS = env.number("CHAT_MEDIA_TIMEOUT_SECONDS", 180, least=1)
CHAT_MEDIA_MAX_TRIES = env.whole("CHAT_MEDIA_MAX_TRIES", 8, least=1, most=1000)
CHAT_MEDIA_DAMAGED_TRIES = env.whole("CHAT_MEDIA_DAMAGED_TRIES", 2, least=1, most=1000)
CHAT_MEDIA_GIVE_UP_SECONDS = env.number("CHAT_MEDIA_GIVE_UP_SECONDS", 3 * 86_400, least=60)
CHAT_MEDIA_SWEEP_SECONDS = env.number("CHAT_MEDIA_SWEEP_SECONDS", 3, least=0.05)
CHAT_MEDIA_URL_SECONDS = env.whole("CHAT_MEDIA_URL_SECONDS", 3600, least=60, most=604_800)
CHAT_MEDIA_PARTIAL_DIR = env.text("CHAT_MEDIA_PARTIAL_DIR", str(VAR_DIR / "media-partial"))
RABBITMQ_URL = amqp_url(env.text("RABBITMQ_URL"), "RABBITMQ_URL")
MEDIA_ROOT = Path(env.text("MEDIA_ROOT", str(VAR_DIR / "storage")))
MEDIA_S3_BUCKET = env.text("MEDIA_S3_BUCKET")


def _storage() -> dict[str, object]:
    """Where files of messages are kept: a directory, or a bucket of anything that speaks S3."""
    if not MEDIA_S3_BUCKET:
        return {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": MEDIA_ROOT}}
    options = {
        "bucket_name": MEDIA_S3_BUCKET,
        "endpoint_url": env.text("MEDIA_S3_ENDPOINT") or None,
        "region_name": env.text("MEDIA_S3_REGION") or None,
        "access_key": env.text("MEDIA_S3_ACCESS_KEY") or None,
        "secret_key": env.text("MEDIA_S3_SECRET_KEY") or None,
        "addressing_style": env.choice("MEDIA_S3_ADDRESSING", "auto", ["auto", "path", "virtual"]),
        "default_acl": None,
        "querystring_auth": True,
        "file_overwrite": True,  # names are contents: what is overwritten is the same
        "max_memory_size": _MIB,
    }
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}


STORAGES = {
    "default": _storage(),
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
METRICS_TOKEN = env.text("METRICS_TOKEN")

if CHAT_SEND_LEASE_SECONDS <= CHAT_SEND_TIMEOUT_SECONDS:
    raise ImproperlyConfigured("CHAT_SEND_LEASE_SECONDS must be longer than CHAT_SEND_TIMEOUT_SECONDS.")

# --- applications and middleware ------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "apps.tenancy",
    "apps.chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "alrea_sense.urls"
ASGI_APPLICATION = "alrea_sense.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "tenancy.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("TRUST_PROXY", False) else None
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = CHAT_WEBHOOK_MAX_BYTES
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/api/schema/docs"],
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "media-src": [SELF, "blob:"],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
    },
}

LANGUAGE_CODE = "pt-br"
LANGUAGES = [("pt-br", "Português (Brasil)"), ("en", "English")]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("STATIC_ROOT", str(VAR_DIR / "static")))
WHITENOISE_USE_FINDERS = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.chat.api.authentication.TokenAuthentication",
        "apps.chat.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.chat.api.permissions.IsMember"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.chat.api.problems.handle",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ALREA Sense chat",
    "DESCRIPTION": "WhatsApp conversations through Evolution API: nothing lost, nothing sent twice, order kept.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENUM_NAME_OVERRIDES": {
        "AttachmentStatusEnum": ["pending", "processing", "completed", "failed", "skipped"],
        "MessageStatusEnum": [
            *("received", "queued", "sending", "retrying", "verifying", "held", "submitted", "sent"),
            *("delivered", "seen", "failed", "cancelled"),
        ],
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "alrea_sense.logs.LineFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "aiormq": {"level": "CRITICAL"},  # each failure to connect, which we say once
        "aio_pika": {"level": "CRITICAL"},
        "django.request": {"level": "ERROR"},
    },
}
