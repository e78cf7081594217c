"""E-mail by SMTP: one message, one connection."""

import smtplib
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

_TIMEOUT = 30.0


def send_mail(url: str, sender: str, to: str, subject: str, body: str) -> None:
    """Send a message through `smtp://user:password@host:port`, or `smtps://`. Blocks.

    Raises:
        ValueError: the URL is of another kind.
        OSError, smtplib.SMTPException: the server did not take it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError(
            "QUICKSILVER_NOTIFY_SMTP_URL must be smtp://user:password@host:port, or smtps://"
        )
    message = EmailMessage()
    # A header may hold no line break: what comes from outside must not add headers.
    message["Subject"] = " ".join(subject.split())
    message["From"] = sender
    message["To"] = to
    message.set_content(body)
    kind = smtplib.SMTP_SSL if parts.scheme == "smtps" else smtplib.SMTP
    with kind(parts.hostname, parts.port or 0, timeout=_TIMEOUT) as server:
        server.ehlo()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls()
            server.ehlo()
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)
