"""The certificate that the server shows."""

from __future__ import annotations

import ssl
from pathlib import Path

from gest_stream.config import ServerConfig
from gest_stream.errors import ConfigError


def tls_context(config: ServerConfig) -> ssl.SSLContext | None:
    """What encrypts connections; None where they are not to be.

    Args:
        config: Names the certificate and its key.

    Raises:
        ConfigError: A file cannot be read, holds something else, or the two do not belong together.
    """
    if config.certificate is None or config.key is None:
        return None
    for name, path in (("certificate", config.certificate), ("key", config.key)):
        _check_readable(name, path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # an empty password, or OpenSSL asks for one on the terminal
        context.load_cert_chain(config.certificate, config.key, password="")
    except ssl.SSLError as exc:
        raise ConfigError(_explain(config.certificate, config.key, exc)) from exc
    return context


def _check_readable(name: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"server.{name}: {path} cannot be read: {exc.strerror}; check the path") from exc


def _explain(certificate: Path, key: Path, exc: ssl.SSLError) -> str:
    if exc.reason == "KEY_VALUES_MISMATCH":
        return f"server.key: {key} is not the key of the certificate {certificate}; give the two that belong together"
    if "ENCRYPTED" not in (text := key.read_text(errors="replace")) and "PRIVATE KEY" in text:
        return f"server.certificate: {certificate} holds no PEM certificate, or {key} a damaged key: {exc.reason}"
    return f"server.key: {key} holds no PEM private key without a password; decrypt it with `openssl pkey`"
