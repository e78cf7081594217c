"""`notify-by-email`: sends one message by SMTP; fired by automations (`flows/automations.py`)."""

from prefect import flow, get_run_logger

from quicksilver.errors import SettingsError
from quicksilver.settings import load_settings
from quicksilver.support.mail import send_mail


@flow(name="notify-by-email", retries=3, retry_delay_seconds=20)
def notify_by_email(subject: str, body: str) -> None:
    """Send a message to `QUICKSILVER_NOTIFY_EMAIL_TO` through `QUICKSILVER_NOTIFY_SMTP_URL`.

    Raises:
        SettingsError: a setting is missing.
        OSError, smtplib.SMTPException: the server did not take it; tried three times more.
    """
    settings = load_settings()
    settings.require("notify_smtp_url", "notify_email_to")
    url = settings.notify_smtp_url.get_secret_value()
    to = settings.notify_email_to
    try:
        send_mail(url, settings.notify_email_from or to, to, subject, body)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    get_run_logger().info("sent %r to %s", subject, to)
