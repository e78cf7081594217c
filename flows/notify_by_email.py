"""`notify-by-email`: sends one message by SMTP; fired by automations (`flows/automations.py`)."""

import smtplib
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from prefect import flow, get_run_logger

from quicksilver.errors import SettingsError
from quicksilver.settings import load_settings

_TIMEOUT = 30.0


@flow(name="notify-by-email", retries=3, retry_delay_seconds=20)
def notify_by_email(subject: str, body: str) -> None:
    """Send a message to `QUICKSILVER_NOTIFY_EMAIL_TO` through `QUICKSILVER_NOTIFY_SMTP_URL`.

    Raises:
        SettingsError: a setting is missing.
        OSError, smtplib.SMTPException: the server did not take it; tried three times more.
    """
    settings = load_settings()
    settings.require("notify_smtp_url", "notify_email_to")
    url = urlsplit(settings.notify_smtp_url.get_secret_value())
    if url.scheme not in ("smtp", "smtps") or not url.hostname:
        raise SettingsError(
            "QUICKSILVER_NOTIFY_SMTP_URL must be smtp://user:password@host:port, or smtps://"
        )
    message = EmailMessage()
    # A header may hold no line break: what comes from outside must not add headers.
    message["Subject"] = " ".join(subject.split())
    message["From"] = settings.notify_email_from or settings.notify_email_to
    message["To"] = settings.notify_email_to
    message.set_content(body)
    kind = smtplib.SMTP_SSL if url.scheme == "smtps" else smtplib.SMTP
    with kind(url.hostname, url.port or 0, timeout=_TIMEOUT) as server:
        server.ehlo()
        if url.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls()
            server.ehlo()
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(message)
    get_run_logger().info("sent %r to %s", message["Subject"], message["To"])
