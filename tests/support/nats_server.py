"""A NATS server for the tests of queues, built once like the embedded stack's stores."""

from quicksilver.stack.go_program import GoProgram

NATS = GoProgram(
    title="NATS",
    name="nats-server",
    package="github.com/nats-io/nats-server/v2",
    version="v2.14.9",
    minimum_go=(1, 25),
    takes="a minute on two cores",
    variable="NATS_SERVER_BIN",
)
