"""A real Kafka for the tests: one broker that is its own controller, over a folder, on loopback.

Maven brings the jars, once per user; Java and Maven are Debian's where they are missing.
"""

import base64
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from quicksilver.stack.ports import LOOPBACK, choose_port
from tests.support.debian import apt_install
from tests.support.waiting import until

KAFKA = "4.1.0"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy-dependencies"
_PROJECT = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>quicksilver</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
<dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA}</version>
</dependency></dependencies>
</project>
"""
_CONFIGURATION = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def kafka_jars() -> Path:
    """The folder of Kafka's jars, fetched when they are not there.

    Raises:
        NotInstalledError: Java or Maven cannot be installed.
        subprocess.CalledProcessError: Maven could not fetch them.
    """
    missing = {"java": "default-jre-headless", "mvn": "maven"}
    if packages := [package for command, package in missing.items() if not shutil.which(command)]:
        apt_install(*packages)
    folder = platformdirs.user_cache_path("quicksilver") / f"kafka-{KAFKA}"
    if not folder.exists():
        work = folder.with_name(f"{folder.name}-{uuid.uuid4().hex}")
        work.mkdir(parents=True)
        (work / "pom.xml").write_text(_PROJECT)
        subprocess.run(
            ["mvn", "-q", "-B", _PLUGIN, f"-DoutputDirectory={work}"],
            cwd=work,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        work.rename(folder)
    return folder


@dataclass
class Broker:
    """A broker; `kill` ends it as a power cut does, `start` brings it back."""

    folder: Path
    jars: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def java(self, *arguments: str) -> list[str]:
        options = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{self.jars}/*")
        return ["java", *options, *arguments]

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.java("kafka.Kafka", str(self.folder / "server.properties")),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(self._listens, "Kafka starts", within=180)

    def _listens(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(20)
            self.process = None


@contextmanager
def kafka(folder: Path) -> Generator[Broker]:
    """A running broker."""
    broker, controller = choose_port(None), choose_port(None)
    (folder / "server.properties").write_text(
        _CONFIGURATION.format(host=LOOPBACK, broker=broker, controller=controller, folder=folder)
    )
    found = Broker(folder, kafka_jars(), broker)
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    properties = str(folder / "server.properties")
    # An id may begin with a dash.
    subprocess.run(
        found.java(
            *("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}"),
            *("--config", properties),
        ),
        check=True,
        capture_output=True,
    )
    try:
        found.start()
        yield found
    finally:
        found.kill()
