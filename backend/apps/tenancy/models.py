"""Tenants and the people and programs that act for them."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import AbstractUser, BaseUserManager
from django.db import models

from apps.tenancy.ids import uuid7
from apps.tenancy.secrets import SealedTextField

if TYPE_CHECKING:
    _UserManager = BaseUserManager["User"]
else:
    _UserManager = BaseUserManager


class UserManager(_UserManager):
    """Makes users that log in by email."""

    use_in_migrations = True

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        return self.create_user(email, password, **{**extra, "is_staff": True, "is_superuser": True})


class User(AbstractUser):
    """A person, known by email. What they may see follows from their memberships."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    username = None  # type: ignore[assignment]
    email = models.EmailField(unique=True)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[UserManager] = UserManager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.email


class Tenant(models.Model):
    """A customer of ours: the border nobody sees across."""

    class DeliveryMode(models.TextChoices):
        """What happens to a send whose outcome cannot be proven; empty = CHAT_DELIVERY_MODE."""

        DEFAULT = "", "server default"
        VERIFIED = "verified", "verified"
        AT_MOST_ONCE = "at_most_once", "at most once"
        AT_LEAST_ONCE = "at_least_once", "at least once"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=120, unique=True)
    delivery_mode = models.CharField(
        max_length=20, choices=DeliveryMode, default=DeliveryMode.DEFAULT, blank=True
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's place in a tenant."""

    class Role(models.TextChoices):
        AGENT = "agent", "agent"
        ADMIN = "admin", "admin"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.AGENT)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.tenant_id}"


class ApiToken(models.Model):
    """One token per user: found by its hash, and kept sealed so that login and bootstrap can tell it again."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="api_token", primary_key=True)
    digest = models.CharField(max_length=64, unique=True)
    sealed = SealedTextField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"token of {self.user_id}"

    @staticmethod
    def digest_of(token: str) -> str:
        """The hash a token is looked up by. Tokens carry 256 random bits, so a plain hash is enough."""
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def of(cls, user: User) -> str:
        """The user's token in clear, made on first call."""
        token = secrets.token_urlsafe(32)
        row, _ = cls.objects.get_or_create(
            user=user, defaults={"digest": cls.digest_of(token), "sealed": token}
        )
        return row.sealed
