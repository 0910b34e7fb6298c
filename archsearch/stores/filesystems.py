"""The file system that a place is in: pyarrow's own where there is one, else fsspec's; with time-outs, if it has any.

Credentials are found as pyarrow and fsspec find them: in the environment, in files of the cloud's own tools, in the
machine's role.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from archsearch.errors import UsageError
from archsearch.stores.places import Place

CONNECT_SECONDS, REQUEST_SECONDS, ATTEMPTS = 4.0, 10.0, 2
RETRY_SECONDS = 15.0
"""Of GCS, whose client tries again by itself."""


OWN = "ship_seconds, ship_bytes, lease, patience"
"""Settings that are no file system's: ``places.py``."""


def _flag(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0", ""):
        raise ValueError(f"true or false, got {value!r}")
    return value.lower() in ("true", "1", "")


_S3: Mapping[str, Callable[[str], Any]] = {
    "region": str,
    "endpoint_override": str,
    "scheme": str,
    "anonymous": _flag,
    "role_arn": str,
    "allow_bucket_creation": _flag,
    "force_virtual_addressing": _flag,
    "tls_ca_file_path": str,
    "connect_timeout": float,
    "request_timeout": float,
}
_GCS: Mapping[str, Callable[[str], Any]] = {
    "endpoint_override": str,
    "scheme": str,
    "anonymous": _flag,
    "project_id": str,
    "retry_time_limit": lambda value: datetime.timedelta(seconds=float(value)),
}
ARROW = ("file", "hdfs", "viewfs", "abfs", "abfss")
"""Schemes that pyarrow opens by the whole name, beside s3, gs and gcs."""
MANY_OBJECTS = ("s3", "gcs", "abfs", "py::fsspec+memory", "py::fsspec+s3", "py::fsspec+gs", "py::fsspec+abfs")
"""File systems (the begin of their type names) without folders, in which a write is there whole or not at all."""


def open_filesystem(place: Place) -> tuple[Any, str]:
    """The file system, and the path of the folder in it.

    Raises:
        UsageError: If there is none of that scheme, or a setting is none of its.
        OSError: If it cannot be reached.
    """
    from pyarrow import fs

    scheme, _, path = place.uri.partition("://")
    path = path.strip("/")
    if scheme in ("s3", "s3a"):
        return _s3(place, path.partition("/")[0]), path
    if scheme in ("gs", "gcs"):
        limit = datetime.timedelta(seconds=RETRY_SECONDS)
        return fs.GcsFileSystem(**{"retry_time_limit": limit, **_settings(place, _GCS)}), path
    if scheme in ARROW:
        query = "&".join(f"{name}={value}" for name, value in place.options)
        try:
            return fs.FileSystem.from_uri(f"{place.uri}?{query}" if query else place.uri)  # type: ignore[no-any-return]
        except ValueError as error:
            raise UsageError(f"{place.uri}: {' '.join(str(error).split())}") from None
    return _fsspec(place)


def _s3(place: Place, bucket: str) -> Any:
    from pyarrow import fs

    given: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "request_timeout": REQUEST_SECONDS}
    given |= {"retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)}
    # Small objects are then one request, which is done or not; else each would be an upload in several parts.
    given |= {"allow_delayed_open": True, "background_writes": False}
    settings = _settings(place, _S3)
    given |= _region(place, bucket) | settings
    try:
        return fs.S3FileSystem(**given)
    except TypeError:  # an older pyarrow
        del given["allow_delayed_open"]
        return fs.S3FileSystem(**given)


def _region(place: Place, bucket: str) -> dict[str, str]:
    """The region of a bucket of AWS where nobody names it."""
    import os

    from pyarrow import fs

    elsewhere = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
    if any(name in ("region", "endpoint_override") for name, _ in place.options) or any(map(os.environ.get, elsewhere)):
        return {}
    return {"region": fs.resolve_s3_region(bucket)}


def _settings(place: Place, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    found = {}
    for name, value in place.options:
        if name not in known:
            raise UsageError(f"{place.uri}: {name}: expected any of {OWN}, {', '.join(known)}")
        try:
            found[name] = known[name](value)
        except ValueError as error:
            raise UsageError(f"{place.uri}: {name}: expected {error}") from None
    return found


def _fsspec(place: Place) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        from fsspec.core import url_to_fs

        found, path = url_to_fs(place.uri, **dict(place.options))
    except (ImportError, ValueError) as error:
        raise UsageError(f"{place.uri}: {' '.join(str(error).split())}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(found)), str(path).rstrip("/")
