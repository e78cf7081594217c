"""Who may read and act: the operators' token in the header, or a browser's session; nobody else."""

import asyncio
import http.client
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest
from typer.testing import CliRunner

from quicksilver.cli.main import app
from quicksilver.ledger import Ledger
from quicksilver.support.postgres import Database
from tests.support.payloads import KEY, notification, record
from tests.support.servers import Postgres
from tests.support.serving import OPERATOR_TOKEN, Client, Served, serving

DATASET, DT = "nyc_tlc.yellow_tripdata", "2024-01-01"
PAGES = ["/", "/partitions", f"/partitions/{DATASET}/{DT}", "/events", "/quarantine", "/explain"]
PROGRAMS = ["/metrics", "/openapi.json", "/api/partitions", "/api/quarantine"]
REBUILD = f"/partitions/{DATASET}/{DT}/rebuild"


@pytest.fixture(scope="module")
def served(stack_postgres: Postgres, ledger_template: str) -> Iterator[Served]:
    """A receiver that an event reached."""
    url = stack_postgres.create_database("operators", "ledger", ledger_template)
    with serving(url) as running:
        assert running.client.post(notification(record(KEY))).status == 200
        yield running
    stack_postgres.drop_database("operators")


@pytest.fixture
def operator(served: Served) -> Client:
    """Shows the operators' token in the header."""
    return Client(served.client.port, OPERATOR_TOKEN)


@pytest.fixture
def stranger(served: Served) -> Client:
    """Shows another token; from an address of its own, whose wrong tokens are counted apart."""
    return Client(served.client.port, "not-an-operators", "127.0.0.9")


def logged_in(served: Served) -> str:
    """The cookie of a browser that logged in."""
    body = urlencode({"token": OPERATOR_TOKEN, "name": "anna"}).encode()
    answer = served.client.request("POST", "/login", body)
    return answer.headers["set-cookie"].partition(";")[0]


def live(client: Client) -> tuple[int, str]:
    """The stream's status, and its first line; it never ends by itself."""
    with client.connect() as connection:
        connection.sendall(client.head("GET", "/live"))
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.readline().decode().strip()


@pytest.mark.parametrize("path", [*PAGES, "/docs", *PROGRAMS])
def test_the_token_in_the_header_opens_it(operator: Client, path: str) -> None:
    answer = operator.request("GET", path)
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    if path in PAGES:
        assert "You are token." in answer.text
        assert "Log out" not in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/docs", *PROGRAMS])
def test_a_wrong_token_in_the_header_is_refused(stranger: Client, path: str) -> None:
    answer = stranger.request("GET", path)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "this token is not accepted" in answer.text
    assert ("<!doctype html>" in answer.text) == (path not in PROGRAMS)


@pytest.mark.parametrize("header", ["", f"Basic {OPERATOR_TOKEN}", OPERATOR_TOKEN])
@pytest.mark.parametrize("path", [*PAGES, "/docs"])
def test_a_page_sends_who_shows_no_bearer_token_to_log_in(
    served: Served, path: str, header: str
) -> None:
    answer = served.client.request("GET", path, Authorization=header)
    assert answer.status == 303
    assert answer.headers["location"] == "/login?" + urlencode({"next": path})


@pytest.mark.parametrize("header", ["", f"Basic {OPERATOR_TOKEN}", OPERATOR_TOKEN])
@pytest.mark.parametrize("path", PROGRAMS)
def test_a_program_is_refused_without_a_bearer_token(
    served: Served, path: str, header: str
) -> None:
    answer = served.client.request("GET", path, Authorization=header)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", [*PAGES, "/docs", *PROGRAMS])
def test_a_session_opens_it(served: Served, path: str) -> None:
    cookie = logged_in(served)
    assert served.client.request("GET", path, Authorization="", Cookie=cookie).status == 200
    # A proxy's own scheme comes with every request of its users, and is none of ours.
    beside = served.client.request("GET", path, Authorization="Basic YTpi", Cookie=cookie)
    assert beside.status == 200
    wrong = served.client.request("GET", path, Authorization="Bearer wrong", Cookie=cookie)
    assert wrong.status == 401


def test_the_stream_takes_the_token_too(served: Served, operator: Client, stranger: Client) -> None:
    assert live(operator) == (200, "event: changed")
    assert live(stranger)[0] == 401
    assert served.client.request("GET", "/live", Authorization="").status == 401


def test_who_shows_the_token_acts_without_a_forms_field(
    served: Served, operator: Client, stranger: Client
) -> None:
    assert stranger.request("POST", REBUILD).status == 401
    done = operator.request("POST", REBUILD)
    assert (done.status, done.headers["location"]) == (303, f"/partitions/{DATASET}/{DT}")
    # A browser that can send the header for another site's page still says whose page it is.
    foreign = operator.request("POST", REBUILD, Sec_Fetch_Site="cross-site")
    assert foreign.status == 403
    without = served.client.request(
        "POST", REBUILD, b"csrf=", Authorization="", Cookie=logged_in(served)
    )
    assert without.status == 403
    actions = served.rows("select actor, action, subject from quicksilver.action")
    assert [tuple(row.values()) for row in actions] == [("token", "rebuild", f"{DATASET}/{DT}")]


@pytest.fixture
def guarded(served: Served) -> Iterator[Served]:
    """Another replica over the same ledger, with a token for each role."""
    with serving(served.database_url, viewer_tokens="a-viewers", metrics_tokens="a-scrapers") as it:
        yield it


def test_a_viewers_token_reads_everything_and_changes_nothing(guarded: Served) -> None:
    viewer = Client(guarded.client.port, "a-viewers")
    for path in [*PAGES, *PROGRAMS]:
        assert viewer.request("GET", path).status == 200, path
    before = guarded.rows("select count(*) as n from quicksilver.action")
    api = f"/api/partitions/{DATASET}/{DT}/rebuild"
    for method, path in (("POST", REBUILD), ("POST", api), ("DELETE", "/api/quarantine/1")):
        refused = viewer.request(method, path)
        assert (refused.status, "may only read" in refused.text) == (403, True), path
    body = urlencode({"token": "a-viewers", "name": "eve"}).encode()
    cookie = guarded.client.request("POST", "/login", body).headers["set-cookie"].partition(";")[0]
    page = guarded.client.request("GET", "/", Authorization="", Cookie=cookie)
    assert page.status == 200
    assert "Reconcile now" not in page.text
    csrf = page.text.split('name="csrf" value="')[1].split('"')[0]
    form = urlencode({"csrf": csrf}).encode()
    acted = guarded.client.request("POST", REBUILD, form, Authorization="", Cookie=cookie)
    assert acted.status == 403
    assert guarded.rows("select count(*) as n from quicksilver.action") == before


def test_rows_that_a_test_found_fault_with_are_for_operators(
    guarded: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = f"/partitions/{DATASET}/{DT}"
    build = guarded.rows(
        "insert into quicksilver.build (dataset, partition, generation, state, owner, claimed_at)"
        " values (%s, %s, 1, 'running', 'one', now()) returning id",
        DATASET,
        DT,
    )[0]["id"]

    async def fail() -> None:
        ledger: Ledger = guarded.app.state.ledger
        database = Database(guarded.database_url, size=1)
        await database.open()
        runs = Ledger(database, ledger.datasets).runs
        assert await runs.record_error(build, "dbt test x failed", rows=[{"passenger": "Mrs Gray"}])
        await database.close()

    asyncio.run(fail())
    operator = guarded.client.operate("GET", page)
    assert "Mrs Gray" in operator.text
    viewer = Client(guarded.client.port, "a-viewers").request("GET", page)
    assert (viewer.status, "dbt test x failed" in viewer.text) == (200, True)
    for path in (page, f"/api{page}", f"/api{page}/builds", f"/explain?key={quote(KEY)}"):
        shown = Client(guarded.client.port, "a-viewers").request("GET", path)
        assert (shown.status, "Mrs Gray" in shown.text) == (200, False), path
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", guarded.database_url)
    assert "Mrs Gray" in CliRunner().invoke(app, ["show", DATASET, DT]).stdout


@pytest.mark.parametrize("token", [OPERATOR_TOKEN, "a-viewers"])
def test_logging_out_ends_the_session_on_every_replica(
    served: Served, guarded: Served, token: str
) -> None:
    """Also for somebody who has copied the cookie; another browser's session goes on."""
    with serving(served.database_url, viewer_tokens="a-viewers") as other:
        replicas = [guarded.client, other.client]
        body = urlencode({"token": token, "name": "anna"}).encode()
        logins = [guarded.client.request("POST", "/login", body) for _ in range(2)]
        left, stays = (login.headers["set-cookie"].partition(";")[0] for login in logins)
        page = other.client.request("GET", "/", Authorization="", Cookie=left)
        csrf = page.text.split('name="csrf" value="')[1].split('"')[0]
        form = urlencode({"csrf": csrf}).encode()
        done = other.client.request("POST", "/logout", form, Authorization="", Cookie=left)
        assert (done.status, done.headers["location"]) == (303, "/login")
        for client in replicas:
            for path, status in (("/", 303), ("/api/partitions", 401), ("/live", 401)):
                answer = client.request("GET", path, Authorization="", Cookie=left)
                assert answer.status == status, path
            acted = client.request("POST", REBUILD, form, Authorization="", Cookie=left)
            assert acted.headers["location"].startswith("/login")
            assert client.request("GET", "/", Authorization="", Cookie=stays).status == 200


def test_an_open_page_hears_no_more_after_its_logout(guarded: Served) -> None:
    cookie = logged_in(guarded)
    head = guarded.client.head("GET", "/live", Authorization="", Cookie=cookie)
    with guarded.client.connect() as connection:
        connection.sendall(head)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.readline().decode().strip() == "event: changed"
        page = guarded.client.request("GET", "/", Authorization="", Cookie=cookie)
        form = urlencode({"csrf": page.text.split('name="csrf" value="')[1].split('"')[0]})
        guarded.client.request("POST", "/logout", form.encode(), Authorization="", Cookie=cookie)
        # It ends by itself: reading on comes to an end, within the connection's time limit.
        response.read()


def test_a_metrics_token_reads_the_metrics_alone(guarded: Served) -> None:
    scraper = Client(guarded.client.port, "a-scrapers", "127.0.0.11")
    assert scraper.request("GET", "/metrics").status == 200
    assert {scraper.request("GET", path).status for path in ["/", "/api/partitions"]} == {401}


@pytest.mark.parametrize("path", [*PAGES, "/docs"])
def test_a_page_answers_head_as_get_without_its_body(operator: Client, path: str) -> None:
    answer = operator.request("HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"].startswith("text/html")


def test_an_action_is_logged_once_and_only_if_it_changed_something(
    served: Served, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the API, by the page and by the command line alike."""
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", served.database_url)

    def by_api(action: str) -> None:
        assert operator.request("POST", f"/api/datasets/{DATASET}/{action}").status == 200

    def by_page(action: str) -> None:
        assert operator.request("POST", f"/datasets/{DATASET}/{action}").status == 303

    def by_command(action: str) -> None:
        assert CliRunner().invoke(app, [action, DATASET]).exit_code == 0

    for act in (by_api, by_page, by_command):
        before = len(logged(served))
        for action in ("pause", "pause", "resume", "resume"):
            act(action)
        assert logged(served)[before:] == [("pause", DATASET), ("resume", DATASET)], act


def logged(served: Served) -> list[tuple[str, str]]:
    """Every action and its subject, in order."""
    found = served.rows("select action, subject from quicksilver.action order by id")
    return [(row["action"], row["subject"]) for row in found]


def test_what_is_not_there_is_404_and_exit_code_3(
    served: Served, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = logged(served)
    assert operator.request("POST", "/api/datasets/no.such/pause").status == 404
    assert operator.request("POST", "/datasets/no.such/pause").status == 404
    assert operator.request("POST", f"/api/partitions/{DATASET}/1999-01-01/rebuild").status == 404
    assert operator.request("DELETE", "/api/quarantine/77").status == 404
    monkeypatch.setenv("QUICKSILVER_DATABASE_URL", served.database_url)
    monkeypatch.setenv("QUICKSILVER_URL", f"http://127.0.0.1:{operator.port}")
    monkeypatch.setenv("QUICKSILVER_OPERATOR_TOKENS", OPERATOR_TOKEN)
    for command in (
        *(["pause", "no.such"], ["resume", "no.such"], ["rebuild", DATASET, "1999-01"]),
        *(["show", "no.such", DT], ["rebuild", "no.such", DT], ["show", DATASET, "1999-01"]),
        *(["quarantine", "show", "77"], ["quarantine", "replay", "77"]),
        ["quarantine", "discard", "77", "--yes"],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 3, (command, done.output)
        assert (
            "no.such" in done.stderr or "ever landed" in done.stderr or "no row 77" in done.stderr
        )
    assert logged(served) == before


def test_guessing_at_pages_is_slowed_down(served: Served) -> None:
    guesser = Client(served.client.port, "a-guess", "127.0.0.10")
    answers = [guesser.request("GET", "/") for _ in range(21)]
    assert [answer.status for answer in answers] == [401] * 20 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert (
        Client(served.client.port, OPERATOR_TOKEN, "127.0.0.10").request("GET", "/").status == 200
    )


def test_without_tokens_the_reference_is_open(served: Served) -> None:
    with serving(served.database_url, operator_tokens="") as running:
        for path in ("/docs", "/openapi.json"):
            assert running.client.request("GET", path, Authorization="").status == 200
            foreign = running.client.request("GET", path, Authorization="", Host="a.example")
            assert foreign.status == 403
