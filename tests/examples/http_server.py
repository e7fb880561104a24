"""http_server, as curl, browsers and Python's own clients use it.

http_server.py FOLDER [unittest arguments]: FOLDER holds the programs. Loopback and free ports only.
"""

import gzip
import hashlib
import http.client
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.error
import urllib.request

import programs
from programs import PATIENCE, Programs, Server


def make_certificate(folder, name):
    """A certificate for localhost and its key: their paths."""
    paths = [os.path.join(folder, name + ending) for ending in (".crt", ".key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-out", paths[0], "-keyout", paths[1],
                    "-days", "1", "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    return paths


class HttpServer(Programs):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, name, content=None):
        path = os.path.join(self.folder, name)
        if content is not None:
            with open(path, "wb") as file:
                file.write(content)
        return path

    def ask(self, server, method, target, body=None, headers=None):
        """(status, fields, body) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def test_every_route_answers(self):
        with Server("http_server", "--port", "0") as server:
            self.assertRegex(server.ready, r"^ready: http \S+:\d+\n")
            for target, wanted in (
                    ("/plaintext", b"Hello, World!"), ("/json", b'{"message":"Hello, World!"}'),
                    ("/healthz", b"ok\n"), ("/delay/0", b"waited 0 s\n"), ("/bytes/5", b"rrrrr"),
                    ("/stream/2", b"chunk 1 of 2\nchunk 2 of 2\n")):
                status, _, body = self.ask(server, "GET", target)
                self.assertEqual((status, body), (200, wanted), target)
            _, _, body = self.ask(server, "GET", "/<b>?a=%20&b", headers={"X-It": "1"})
            self.assertIn(b"You requested: /&lt;b&gt;?a=%20&amp;b<", body)
            self.assertIn(b"Your address: 127.0.0.1:", body)
            self.assertIn(b"X-It: 1\n", self.ask(server, "GET", "/headers", headers={"X-It": "1"})[2])
            self.assertEqual(self.ask(server, "GET", "/status/418")[0], 418)
            self.assertEqual(self.ask(server, "GET", "/status/42")[0], 404)
            self.assertEqual(self.ask(server, "GET", "/bytes/3000000")[2], b"r" * 3000000)
            self.assertEqual(self.ask(server, "HEAD", "/json")[1]["Content-Length"], "27")
            status, fields, _ = self.ask(server, "DELETE", "/json")
            self.assertEqual((status, fields["Allow"]), (405, "GET, HEAD, OPTIONS"))
            status, fields, body = self.ask(server, "POST", "/echo", b"\0text",
                                            {"Content-Type": "a/b"})
            self.assertEqual((status, fields["Content-Type"], body), (200, "a/b", b"\0text"))

    def test_bodies_beyond_the_limit_are_refused_and_the_refusal_can_be_read(self):
        with Server("http_server", "--port", "0", "--max-body", "1000") as server:
            self.assertEqual(self.ask(server, "POST", "/echo", b"x" * 1000)[0], 200)
            self.assertEqual(self.ask(server, "POST", "/echo", b"x" * 1001)[0], 413)
            pieces = [b"x" * 100_000] * 20
            self.assertEqual(self.ask(server, "POST", "/echo", iter(pieces))[0], 413)

    def test_an_upload_is_told_by_name_size_and_sum(self):
        content = os.urandom(300_000)
        form = (b'--cut\r\nContent-Disposition: form-data; name="f"; filename="../a b.bin"\r\n\r\n'
                + content + b"\r\n--cut--\r\n")
        with Server("http_server", "--port", "0") as server:
            status, _, body = self.ask(server, "POST", "/upload", form,
                                       {"Content-Type": "multipart/form-data; boundary=cut"})
            self.assertEqual(status, 200, body)
            self.assertEqual(json.loads(body), [{
                "field": "f", "name": "../a b.bin", "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest()}])

    def test_files_come_whole_in_parts_and_not_again(self):
        content = os.urandom(500_000)
        self.path("a.bin", content)
        self.path("page.html", b"<p>" * 1000)
        with Server("http_server", "--port", "0", "--root", self.folder) as server:
            status, fields, body = self.ask(server, "GET", "/files/a.bin")
            self.assertEqual((status, body), (200, content))
            tag = {"If-None-Match": fields["ETag"]}
            self.assertEqual(self.ask(server, "GET", "/files/a.bin", headers=tag)[0], 304)
            part = {"Range": "bytes=100-199"}
            status, fields, body = self.ask(server, "GET", "/files/a.bin", headers=part)
            self.assertEqual((status, body), (206, content[100:200]))
            packed = {"Accept-Encoding": "gzip"}
            status, fields, body = self.ask(server, "GET", "/files/page.html", headers=packed)
            self.assertEqual(status, 200)
            if fields["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            self.assertEqual(body, b"<p>" * 1000)
            for target in ("/files/../../etc/passwd", "/files/%2e%2e/%2e%2e/etc/passwd"):
                self.assertEqual(self.ask(server, "GET", target)[0], 400)

    def test_events_come_one_by_one(self):
        with Server("http_server", "--port", "0") as server, server.connect() as peer:
            peer.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            seen = b""
            while b"event 2" not in seen:
                part = peer.recv(4096)
                self.assertTrue(part, seen)
                seen += part
            self.assertIn(b"Content-Type: text/event-stream", seen)
            self.assertLess(seen.index(b"event 1"), seen.index(b"event 2"))

    def test_it_speaks_tls_and_reads_its_certificates_anew(self):
        paths = make_certificate(self.folder, "first")
        with Server("http_server", "--port", "0", "--tls-port", "0", "--tls-cert", paths[0],
                    "--tls-key", paths[1]) as server:
            lines = [line for line in server.ready.splitlines() if line.startswith("ready: https ")]
            port = int(lines[0].rsplit(":", 1)[1])

            def fetch():
                trusted = ssl.create_default_context(cafile=paths[0])
                with urllib.request.urlopen(f"https://localhost:{port}/bytes/200000",
                                            context=trusted, timeout=PATIENCE) as answer:
                    return answer.read()
            self.assertEqual(fetch(), b"r" * 200000)
            for old, new in zip(paths, make_certificate(self.folder, "second")):
                os.replace(new, old)
            with self.assertRaises(urllib.error.URLError):
                fetch()  # the new one is trusted, the server still shows the old one
            server.signal(signal.SIGHUP)
            self.assertEqual(server.process.stdout.readline(), b"certificates read anew\n")
            self.assertEqual(fetch(), b"r" * 200000)

    def test_a_drain_does_not_wait_for_a_handshake_that_never_begins(self):
        paths = make_certificate(self.folder, "it")
        with Server("http_server", "--port", "0", "--tls-port", "0", "--tls-cert", paths[0],
                    "--tls-key", paths[1], "--drain-timeout", "1h") as server:
            port = int(server.ready.splitlines()[-1].rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as silent:
                self.ask(server, "GET", "/healthz")  # the connection before it is accepted by now
                server.signal()
                self.assertEqual(silent.recv(1), b"")
                self.assertEqual(server.process.wait(5), 0)  # the handshake's own time is 10 s

    def test_a_missing_key_or_certificate_is_one_line(self):
        self.refused(programs.run("http_server", "--port", "0", "--tls-port", "0", "--tls-cert",
                                  self.path("none.crt"), "--tls-key", self.path("none.key")),
                     "none.crt")
        self.refused(programs.run("http_server", "--tls-port", "0"), "--tls-cert")

    def test_a_taken_port_is_one_line(self):
        with Server("http_server", "--port", "0") as server:
            self.refused(programs.run("http_server", "--port", str(server.port)),
                         str(server.port), "in use")

    def test_draining_answers_what_has_begun_and_ends_with_0(self):
        log = self.path("log")
        with Server("http_server", "--port", "0", "--threads", "2", "--access-log",
                    log) as server, server.connect() as idle, server.connect() as busy:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertTrue(idle.recv(4096).endswith(b"ok\n"))
            busy.sendall(b"GET /delay/1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                         b"Content-Length: 1\r\n\r\n")
            # Its task is there when the next answer of the same loop is; ask both loops.
            for _ in range(20):
                self.ask(server, "GET", "/healthz")
            server.signal()
            self.assertEqual(idle.recv(4096), b"")
            answer = b""
            while part := busy.recv(4096):
                answer += part
            self.assertTrue(answer.endswith(b"waited 1 s\n"), answer)
            self.assertIn(b"Connection: close\r\n", answer)
            self.assertEqual(server.wait(), 0)
        with open(log, encoding="ascii") as lines:
            self.assertEqual(sum("GET /delay/1 HTTP/1.1\" 200 11" in line for line in lines), 1)

    def test_reflect_answers_whatever_is_asked_with_its_body(self):
        with Server("http_server", "--port", "0", "--reflect") as server:
            self.assertEqual(self.ask(server, "PUT", "/any/where", b"body")[2], b"body")
            self.assertEqual(self.ask(server, "GET", "/files/x")[::2], (200, b""))

    def test_many_clients_at_once_get_their_own_answers(self):
        wrong = []

        def ask_often(server, number):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            for i in range(50):
                body = f"{number}-{i}".encode() * (1 + i * 20)
                connection.request("POST", "/echo", body)
                if connection.getresponse().read() != body:
                    wrong.append((number, i))
            connection.close()
        with Server("http_server", "--port", "0", "--threads", "2") as server:
            all_of_them = [threading.Thread(target=ask_often, args=(server, n)) for n in range(8)]
            for each in all_of_them:
                each.start()
            for each in all_of_them:
                each.join(PATIENCE)
        self.assertEqual(wrong, [])

    def resident_mib(self, server):
        """0 under a sanitizer, whose memory is not the program's."""
        with open(programs.program("http_server"), "rb") as file:
            if b"__asan_init" in (content := file.read()) or b"__tsan_init" in content:
                return 0
        with open(f"/proc/{server.process.pid}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() >> 20

    def test_ten_thousand_half_requests_hold_nobody_up(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limit)
        count = min(10000, limit[1] - 500)
        with Server("http_server", "--port", "0", "--header-timeout", "5s") as server:
            before = self.resident_mib(server)
            half = []
            for _ in range(count):
                half.append(self.enterContext(server.connect()))
                half[-1].sendall(b"GET / HTTP/1.1\r\nHost: it\r\nX-Slow: " + b"x" * 1000)
            self.assertEqual(self.ask(server, "GET", "/healthz")[0], 200)
            self.assertLess(self.resident_mib(server) - before, 100)
            for each in half:
                self.assertEqual(each.recv(17), b"HTTP/1.1 408 Requ")
                each.close()
            self.assertEqual(self.ask(server, "GET", "/healthz")[0], 200)
            server.signal()
            self.assertEqual(server.wait(), 0)

    def test_pipelined_requests_without_number_take_no_memory(self):
        request = b"GET /plaintext HTTP/1.1\r\nHost: it\r\n\r\n"
        count, at_once = 100000, 1000
        with Server("http_server", "--port", "0") as server:
            before = self.resident_mib(server)
            with server.connect() as asking, server.connect() as mute:
                sending = threading.Thread(target=lambda: [
                    asking.sendall(request * at_once) for _ in range(count // at_once)])
                sending.start()
                answers, last = 0, b""
                while answers < count:
                    came = asking.recv(1 << 20)
                    self.assertNotEqual(came, b"")
                    answers += (last + came).count(b"Hello, World!")
                    last = (last + came)[-12:]
                sending.join(PATIENCE)
                self.assertEqual(answers, count)
                # Who reads nothing is read no further.
                mute.settimeout(1)
                with self.assertRaises(TimeoutError):
                    for _ in range(10 * count // at_once):
                        mute.sendall(request * at_once)
                self.assertLess(self.resident_mib(server) - before, 16)
                self.assertEqual(self.ask(server, "GET", "/healthz")[0], 200)


if __name__ == "__main__":
    programs.FOLDER = sys.argv.pop(1)
    unittest.main(verbosity=2)
