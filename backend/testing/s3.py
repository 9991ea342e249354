"""A private S3 server, moto's: its objects are in memory, so that a kill loses them."""

from __future__ import annotations

import sys
from pathlib import Path

import boto3

from testing.ports import spare_port
from testing.process import Process
from testing.servers import environment

KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


class S3Server(Process):
    """Buckets for anybody who has any keys."""

    def __init__(self, directory: Path) -> None:
        self.port = spare_port()
        args = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        super().__init__("s3", args, log=directory / "s3.log", cwd=directory, env=environment())

    def ready(self) -> bool:
        return "Running on" in self.output()

    def make_bucket(self, name: str) -> None:
        """A bucket; its server must be ready."""
        url = f"http://127.0.0.1:{self.port}"
        boto3.client("s3", endpoint_url=url, **KEYS).create_bucket(Bucket=name)
