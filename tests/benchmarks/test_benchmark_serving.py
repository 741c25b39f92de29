"""The serving benchmark counts what was asked, and its ratios are those of its rows."""

import socket
import socketserver
import threading

import numpy as np

from benchmarks import balanced, serving, timing


def test_a_load_asks_each_question_once_with_all_clients_at_work():
    asked, together = [], threading.Barrier(4, timeout=60)

    def ask(number):
        together.wait()  # passes only when four ask at the same time
        asked.append(number)

    found = serving.load(ask, clients=4, count=12)
    assert sorted(asked) == sorted([*range(4), *range(12)])  # each client once beforehand
    assert 0 < found["p50"] <= found["p95"] and found["throughput"] > 0


def test_ways_take_turns_and_the_first_round_does_not_count():
    calls = []
    ways = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    assert set(timing.in_turn(ways, rounds=2)) == {"a", "b"}
    assert calls == ["a", "b"] * 3


def test_the_table_says_what_a_state_saves_and_the_server_adds():
    seconds = {
        "server, full request": 2.0,
        "server, state": 0.8,
        "SavedModel, full": 1.6,
        "SavedModel, state": 0.75,
        "Keras network, full": 1.5,
        "Keras network, state": 0.64,
    }
    text = serving.ways_table(seconds)
    assert "| server, full request | 2.000 | 125 % |" in text
    assert "takes 40 % of a full request" in text and "adds 50 ms" in text
    assert "1.25 times as long" in text


def test_no_server_knows_the_supports_of_full_requests():
    files = serving.unseen_files(np.zeros((4, 5, 3), np.uint8), 6)
    assert len({one["b64"] for one in files}) == 6


def test_the_balancer_passes_connections_on_in_turn():
    def server(name):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(name + self.rfile.readline())

        return socketserver.TCPServer(("127.0.0.1", 0), Handler)

    def ask(port, text):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(text)
            return client.makefile("rb").read()

    with server(b"a") as first, server(b"b") as second:
        for one in (first, second):
            threading.Thread(target=one.serve_forever, daemon=True).start()
        with balanced.balanced([one.server_address[1] for one in (first, second)]) as port:
            answers = [ask(port, f"{number}\n".encode()) for number in range(4)]
        for one in (first, second):
            one.shutdown()
    assert answers == [b"a0\n", b"b1\n", b"a2\n", b"b3\n"]
