"""http_server and http_client against the servers, clients and tools that the world has.

http_peers.py FOLDER [unittest arguments]: FOLDER holds the programs. An argument such as Nginx is
one peer alone. What is not installed is skipped; ends with 77 if all that was asked for was.
Loopback and free ports only.
"""

import base64
import functools
import gzip
import hashlib
import http.client
import io
import json
import os
import queue
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import types
import unittest
import urllib.error
import urllib.request
import wave
import zlib

import http_clients
import programs
from http_clients import read
from programs import PATIENCE, Server

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")  # what the peers are given
ALL_SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt
BODY_MAX = 6_000_000  # of http_server here


def make_certificates(folder):
    """An authority and what it says of localhost: the paths of ca.crt, it.crt and it.key."""
    paths = [os.path.join(folder, name) for name in ("ca.crt", "it.crt", "it.key", "ca.key")]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2"]
    subprocess.run([*make, "-subj", "/CN=an authority", "-out", paths[0], "-keyout", paths[3]],
                   check=True, capture_output=True)
    subprocess.run([*make, "-subj", "/CN=localhost", "-CA", paths[0], "-CAkey", paths[3],
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-addext", "basicConstraints=critical,CA:FALSE",
                    "-out", paths[1], "-keyout", paths[2]], check=True, capture_output=True)
    return paths[:3]


def digest(content):
    return hashlib.sha256(content).hexdigest()


def over_both(test):
    """The test of a URL, once over HTTP and once over HTTPS."""
    @functools.wraps(test)
    def run(self):
        for url in (self.http, self.https):
            with self.subTest(url):
                test(self, url)
    return run


class Peer(unittest.TestCase):
    """http_server on two ports beside a peer; skipped if the peer is not there."""

    names = ()  # of the peer's program, the best first
    tool = ""

    @classmethod
    def setUpClass(cls):
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
        found = [each for each in (shutil.which(name, path=path) for name in cls.names) if each]
        if cls.names and not found:
            raise unittest.SkipTest(f"{cls.names[0]} is not installed")
        cls.tool = found[0] if found else ""
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.authority, cls.certificate, cls.key = make_certificates(cls.folder)
        cls.root = os.path.join(cls.folder, "root")
        os.mkdir(cls.root)
        cls.big = os.urandom(5_000_000)
        cls.page = b"<!DOCTYPE html><p>" + b"a page of some words " * 2000
        cls.big_path = cls.put("big.bin", cls.big)
        cls.put("page.html", cls.page)
        cls.log = os.path.join(cls.folder, "log")
        cls.server = cls.enterClassContext(Server(
            "http_server", "--port", "0", "--tls-port", "0", "--tls-cert", cls.certificate,
            "--tls-key", cls.key, "--root", cls.root, "--max-body", str(BODY_MAX),
            "--access-log", cls.log))
        cls.http = f"http://localhost:{cls.server.ports[0]}"
        cls.https = f"https://localhost:{cls.server.ports[-1]}"

    @classmethod
    def tearDownClass(cls):
        cls.stop()

    @classmethod
    def stop(cls):
        """Its log is written then."""
        if cls.server.process.poll() is None:
            cls.server.signal(signal.SIGTERM)
        if cls.server.wait() != 0:
            raise AssertionError(cls.server.process.stderr.read().decode())

    @classmethod
    def put(cls, name, content):
        path = os.path.join(cls.root, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_tool(self, *arguments, code=0, **more):
        outcome = subprocess.run([self.tool, *arguments], stdin=subprocess.DEVNULL,
                                 capture_output=True, timeout=2 * PATIENCE, **more)
        self.assertEqual(outcome.returncode, code, outcome.stderr.decode())
        return outcome

    def fetch(self, *arguments, code=0, **more):
        """http_client."""
        outcome = http_clients.run("http_client", "--cacert", self.authority, *arguments, **more)
        self.assertEqual(outcome.returncode, code, outcome)
        return outcome

    def first_characters(self, port, path):
        """simple_web_client."""
        outcome = http_clients.run("simple_web_client", "127.0.0.1", path, "--port", str(port))
        self.assertEqual(outcome.returncode, 0, outcome)
        return outcome.stdout


class Curl(Peer):
    names = ("curl",)

    def curl(self, *arguments, code=0):
        return self.run_tool("-q", "-sS", "--max-time", str(PATIENCE), "--cacert", self.authority,
                             *arguments, code=code).stdout

    @over_both
    def test_every_route(self, url):
        for target, wanted in (
                ("/plaintext", b"Hello, World!"), ("/json", b'{"message":"Hello, World!"}'),
                ("/healthz", b"ok\n"), ("/delay/0", b"waited 0 s\n"),
                ("/status/404", b"status 404\n"), ("/bytes/3000000", b"r" * 3_000_000),
                ("/stream/2", b"chunk 1 of 2\nchunk 2 of 2\n"),
                ("/files/big.bin", self.big), ("/files/page.html", self.page)):
            self.assertEqual(self.curl(url + target), wanted, target)
        self.assertIn(b"You requested: /a?b=%20<", self.curl(url + "/a?b=%20"))
        self.assertIn(b"\nX-It: 1\n", self.curl("-H", "X-It: 1", url + "/headers"))
        self.assertEqual(self.curl("-d", "a=1", "-d", "b=2", url + "/echo"), b"a=1&b=2")
        self.assertIn(b"\r\nAllow: POST, OPTIONS\r\n", self.curl("-i", url + "/echo"))

    @over_both
    def test_heads_alone(self, url):
        for target, size in (("/json", 27), ("/files/big.bin", len(self.big))):
            head = self.curl("-I", url + target)
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
            self.assertIn(b"\r\nContent-Length: %d\r\n" % size, head)
            self.assertTrue(head.endswith(b"\r\n\r\n"), head)

    @over_both
    def test_one_connection_for_many_requests(self, url):
        targets = ["/json", "/stream/3", "/status/404", "/files/page.html", "/echo", "/bytes/9"]
        said = self.curl("-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", *(
            part for target in targets for part in ("-o", "/dev/null", url + target)))
        self.assertEqual(said.split(), b"200 1 200 0 404 0 200 0 405 0 200 0".split())
        said = self.curl("-Z", "--parallel-max", "20", "-w", "%{stderr}", url + "/bytes/[1-60]")
        self.assertEqual(said, b"r" * sum(range(61)))

    @over_both
    def test_ranges(self, url):
        file = url + "/files/big.bin"
        self.assertEqual(self.curl("-r", "100-199", file), self.big[100:200])
        self.assertEqual(self.curl("-r", "-100", file), self.big[-100:])
        self.assertEqual(self.curl("-C", "4000000", file), self.big[4_000_000:])
        parts = self.curl("-i", "-r", "0-9,100-109", file)
        self.assertIn(b" 206 ", parts.split(b"\r\n", 1)[0])
        self.assertIn(b"\r\nContent-Type: multipart/byteranges; boundary=", parts)
        self.assertIn(b"\r\n\r\n" + self.big[100:110] + b"\r\n--", parts)
        self.assertIn(b" 416 ", self.curl("-i", "-r", "5000000-", file))

    @over_both
    def test_what_is_known_is_not_sent_again(self, url):
        tag = os.path.join(self.folder, "tag")
        self.curl("--etag-save", tag, url + "/files/page.html")
        again = self.curl("-i", "--etag-compare", tag, url + "/files/page.html")
        self.assertTrue(again.startswith(b"HTTP/1.1 304 "), again)
        self.assertTrue(again.endswith(b"\r\n\r\n"), again)
        again = self.curl("-i", "-z", self.big_path, url + "/files/big.bin")
        self.assertTrue(again.startswith(b"HTTP/1.1 304 "), again)

    @over_both
    def test_compressed_answers(self, url):
        for coding in ("gzip", "br"):
            head = os.path.join(self.folder, "head")
            body = self.curl("--compressed", "-H", "Accept-Encoding: " + coding, "-D", head, "-w",
                             "%{size_download}", url + "/stream/10000")
            self.assertIn(b"\r\nContent-Encoding: " + coding.encode() + b"\r\n", read(head))
            wanted = b"".join(b"chunk %d of 10000\n" % i for i in range(1, 10001))
            self.assertEqual(body[:len(wanted)], wanted)
            self.assertLess(int(body[len(wanted):]), len(wanted) / 3)

    @over_both
    def test_uploads(self, url):
        for how in (("-H", "Expect: 100-continue"), ("-H", "Expect:"),
                    ("-H", "Transfer-Encoding: chunked")):
            got = self.curl("-i", "-X", "POST", "-T", self.big_path, *how, url + "/echo")
            self.assertEqual(got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"), how[1] != "Expect:")
            self.assertTrue(got.endswith(b"\r\n\r\n" + self.big), how)
        got = self.curl("-F", "a=text", "-F", "f=@" + self.big_path, "-F",
                        f"g=@{self.root}/page.html;filename=ä b.html", url + "/upload")
        self.assertEqual(json.loads(got), [
            {"field": field, "name": name, "size": len(content), "sha256": digest(content)}
            for field, name, content in (("f", "big.bin", self.big),
                                         ("g", "ä b.html", self.page))])

    @over_both
    def test_a_body_too_large_is_refused_and_the_refusal_read(self, url):
        path = self.put("large.bin", bytes(BODY_MAX + 1))
        for how in (("-H", "Expect: 100-continue"), ("-H", "Expect:"),
                    ("-H", "Transfer-Encoding: chunked", "-H", "Expect:")):
            said = self.curl("-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-X", "POST",
                             "-T", path, *how, url + "/echo").decode().split()
            self.assertEqual(said[0], "413", how)
            if len(how) == 2 and how[1] != "Expect:":
                self.assertEqual(said[1], "0")

    @over_both
    def test_http_1_0(self, url):
        head, body = self.curl("-i", "--http1.0", url + "/stream/2").split(b"\r\n\r\n", 1)
        self.assertEqual(body, b"chunk 1 of 2\nchunk 2 of 2\n")
        self.assertNotIn(b"Transfer-Encoding", head)
        self.assertEqual(self.curl("-0", url + "/bytes/3000000"), b"r" * 3_000_000)
        self.assertEqual(self.curl("-0", "-d", "text", url + "/echo"), b"text")
        self.assertEqual(self.curl("-0", url + "/files/big.bin"), self.big)

    @over_both
    def test_no_path_leads_out_of_the_root(self, url):
        for path in ("../../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc/passwd",
                     "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "..\\..\\etc\\passwd",
                     "../log", "../it.key"):
            got = self.curl("-i", "--path-as-is", url + "/files/" + path)
            self.assertRegex(got, rb"^HTTP/1\.1 40[034] ", path)
            self.assertNotIn(b"root:", got)
            self.assertNotIn(b"PRIVATE KEY", got)

    @over_both
    def test_events_come_one_by_one(self, url):
        with subprocess.Popen([self.tool, "-q", "-sSN", "--cacert", self.authority,
                               url + "/events"], stdout=subprocess.PIPE) as program:
            seen = [program.stdout.readline() for _ in range(6)]
            program.kill()
        self.assertEqual(seen, [b"id: 1\n", b"data: event 1\n", b"\n",
                                b"id: 2\n", b"data: event 2\n", b"\n"])


class Wrk(Peer):
    names = ("wrk",)

    def load(self, url, *arguments):
        said = self.run_tool("-t", "1", "-c", "64", *arguments, url + "/plaintext").stdout.decode()
        self.assertNotIn("Socket errors", said)
        self.assertNotIn("Non-2xx", said)
        self.assertGreater(int(re.search(r"(\d+) requests in", said)[1]), 64, said)

    @over_both
    def test_nothing_fails_under_load(self, url):
        self.load(url, "-d", "2s")

    @over_both
    def test_nothing_fails_when_requests_are_pipelined(self, url):
        self.load(url, "-d", "2s", "-s", os.path.join(HERE, "pipeline.lua"))


class H2load(Peer):
    names = ("h2load",)

    @over_both
    def test_every_request_succeeds(self, url):
        said = self.run_tool("--h1", "-n", "20000", "-c", "100", url + "/json").stdout.decode()
        self.assertIn("20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout", said)
        self.assertIn("status codes: 20000 2xx, 0 3xx, 0 4xx, 0 5xx", said)


class Nginx(Peer):
    names = ("nginx",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # It takes listening sockets over from the one before it, as at an upgrade: so there is no
        # port to guess, and no moment when it does not listen yet.
        listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        cls.port, cls.tls_port = (each.getsockname()[1] for each in listeners)
        cls.url = f"http://localhost:{cls.port}"
        cls.urls = f"https://localhost:{cls.tls_port}"
        text = read(os.path.join(HERE, "nginx.conf")).decode().replace("@", cls.folder)
        for name, port in (("OWNS", cls.tls_port), ("OWN", cls.port),
                           ("HTTPS", cls.server.ports[-1]), ("HTTP", cls.server.ports[0])):
            text = re.sub(rf"\b{name}\b", str(port), text)
        for name, content in (("nginx.conf", text), ("users", "me:{PLAIN}s3cret\n")):
            with open(os.path.join(cls.folder, name), "w", encoding="ascii") as file:
                file.write(content)
        numbers = [each.fileno() for each in listeners]
        process = subprocess.Popen(
            [cls.tool, "-p", cls.folder, "-c", "nginx.conf", "-e", "error.log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=numbers, env={**os.environ, "NGINX": "".join(f"{each};" for each in numbers)})
        cls.addClassCleanup(process.wait, PATIENCE)
        cls.addClassCleanup(process.terminate)  # ends its worker as well
        for each in listeners:
            each.close()

    def ask(self, path, body=None, method=None):
        """(status, fields, body) by a client of Python's."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(method or ("GET" if body is None else "POST"), path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def test_in_front_it_passes_everything_on(self):
        for where in ("/plain", "/secure", "/direct"):
            with self.subTest(where):
                self.assertEqual(self.ask(where + "/plaintext")[::2], (200, b"Hello, World!"))
                self.assertEqual(self.ask(where + "/files/big.bin")[::2], (200, self.big))
                self.assertEqual(self.ask(where + "/echo", self.big)[::2], (200, self.big))
                pieces = [self.big[i:i + 50_000] for i in range(0, len(self.big), 50_000)]
                self.assertEqual(self.ask(where + "/echo", iter(pieces))[::2], (200, self.big))
                status, fields, body = self.ask(where + "/stream/5000")
                self.assertEqual((status, fields["Transfer-Encoding"]), (200, "chunked"))
                self.assertTrue(body.endswith(b"chunk 5000 of 5000\n"))
                self.assertEqual(body.count(b"\n"), 5000)
                self.assertEqual(self.ask(where + "/files/none")[0], 404)
                self.assertEqual(self.ask(where + "/status/404")[::2], (404, b"status 404\n"))
                head = self.ask(where + "/json", method="HEAD")[1]
                self.assertEqual(head["Content-Length"], "27")
                self.assertEqual(self.ask(where + "/echo", bytes(BODY_MAX + 1))[0], 413)

    def test_in_front_it_keeps_its_connections(self):
        for where in ("/plain", "/secure"):
            with self.subTest(where):
                pages = [self.ask(where + "/page")[2] for _ in range(5)]
                self.assertEqual(len({re.search(rb"address: (\S+:\d+)<", each)[1]
                                      for each in pages}), 1, pages)

    def test_in_front_it_passes_events_on_as_they_come(self):
        for where in ("/plain", "/secure", "/direct"):
            with self.subTest(where), urllib.request.urlopen(
                    self.url + where + "/events", timeout=PATIENCE) as answer:
                seen = [answer.readline() for _ in range(6)]
                self.assertEqual(seen[1::3], [b"data: event 1\n", b"data: event 2\n"])

    def test_its_files(self):
        for url in (self.url, self.urls):
            with self.subTest(url):
                self.assertEqual(self.fetch(url + "/big.bin").stdout, self.big)
                self.assertEqual(self.fetch(url + "/page.html").stdout, self.page)
                part = self.fetch("-i", "-H", "Range: bytes=10-19", url + "/big.bin").stdout
                self.assertTrue(part.startswith(b"HTTP/1.1 206 "), part)
                self.assertTrue(part.endswith(b"\r\n\r\n" + self.big[10:20]), part)
                self.assertIn(b"\r\nContent-Length: 5000000\r\n",
                              self.fetch("-I", url + "/big.bin").stdout)
                self.assertIn(b"404 Not Found", self.fetch(url + "/none").stdout)
                self.fetch("-f", url + "/none", code=1)

    def test_its_gzip_comes_in_chunks_and_is_decoded(self):
        for url in (self.url, self.urls):
            with self.subTest(url):
                got = self.fetch("-v", "--compressed", url + "/page.html")
                self.assertEqual(got.stdout, self.page)
                self.assertIn(b"< Transfer-Encoding: chunked\n", got.stderr)
                self.assertIn(b"< Content-Encoding: gzip\n", got.stderr)

    def test_its_redirects(self):
        got = self.fetch("-v", "-L", self.url + "/moved")
        self.assertEqual(got.stdout, self.page)
        self.assertEqual(got.stderr.count(b"* connected to "), 1)  # the second on the same one
        got = self.fetch("-v", "-L", self.url + "/upwards")
        self.assertEqual(got.stdout, self.page)
        self.assertEqual(got.stderr.count(b"* connected to "), 2)

    def test_its_authentication(self):
        private = self.url + "/private/page.html"
        self.assertIn(b"401 Authorization Required", self.fetch(private).stdout)
        got = self.fetch("-u", "me", private, environment={"RILL_PASSWORD": "s3cret"})
        self.assertEqual(got.stdout, self.page)
        self.fetch("-f", "-u", "me", private, environment={"RILL_PASSWORD": "wrong"}, code=1)

    def test_its_refusal_of_a_large_upload_is_shown(self):
        for url in (self.url, self.urls):
            for arguments in (("-T", self.big_path), ("-d", "@" + self.big_path),
                              ("-F", "f=@" + self.big_path)):
                with self.subTest(url + " " + arguments[0]):
                    got = self.fetch("-i", *arguments, url + "/small/echo").stdout
                    self.assertTrue(got.startswith(b"HTTP/1.1 413 "), got)
                    self.assertIn(b"413 Request Entity Too Large", got)

    def test_uploads_by_way_of_it(self):
        for where in ("/plain", "/secure", "/direct"):
            got = self.fetch("-X", "POST", "-T", self.big_path, self.urls + where + "/echo")
            self.assertEqual(got.stdout, self.big)

    def test_a_stranger_is_not_believed(self):
        outcome = http_clients.run("http_client", self.urls + "/page.html")
        self.assertEqual(outcome.returncode, 1, outcome)
        self.assertIn(b"certificate", outcome.stderr)

    def test_the_first_characters_of_a_page(self):
        page = self.first_characters(self.port, "/page.html")
        self.assertTrue(page.startswith(b"HTTP/1.1 200 OK\r\nServer: nginx"), page)
        self.assertEqual(len(page), 201)


class Python(Peer):
    """Its clients over TLS; without it, http_server.py. Its servers: http_clients.py has more."""

    def context(self):
        return ssl.create_default_context(cafile=self.authority)

    def test_http_client_keeps_its_connection(self):
        connection = http.client.HTTPSConnection("localhost", self.server.ports[-1],
                                                 timeout=PATIENCE, context=self.context())
        self.addCleanup(connection.close)
        seen = set()
        for size in (0, 1, 100_000, 3_000_000):
            connection.request("POST", "/echo", iter([self.big[:size]]))  # chunked
            self.assertEqual(connection.getresponse().read(), self.big[:size])
            connection.request("GET", "/page")
            seen.add(re.search(rb"address: (\S+:\d+)<", connection.getresponse().read())[1])
        self.assertEqual(len(seen), 1)

    @over_both
    def test_urllib(self, url):
        def ask(target, **more):
            request = urllib.request.Request(url + target, **more)
            return urllib.request.urlopen(request, timeout=PATIENCE, context=self.context())
        with ask("/files/big.bin") as answer:
            self.assertEqual(answer.read(), self.big)
        with ask("/echo", data=self.big, headers={"Content-Type": "a/b"}) as answer:
            self.assertEqual((answer.headers["Content-Type"], answer.read()), ("a/b", self.big))
        with ask("/stream/3") as answer:
            self.assertEqual(len(list(answer)), 3)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            ask("/status/418")
        self.assertEqual((refused.exception.code, refused.exception.read()),
                         (418, b"status 418\n"))
        refused.exception.close()

    def test_its_http_server(self):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1",
             "--protocol", "HTTP/1.1", "--directory", self.root],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            port = re.search(rb"port (\d+)", process.stdout.readline())[1].decode()
            url = f"http://127.0.0.1:{port}"
            self.assertEqual(self.fetch(url + "/big.bin").stdout, self.big)
            self.assertIn(b'<a href="big.bin">', self.fetch("--compressed", url).stdout)
            self.assertIn(b"404", self.fetch(url + "/none").stdout)
            self.assertIn(b"Unsupported method", self.fetch("-T", self.big_path, url).stdout)
            page = self.first_characters(port, "/page.html")
            self.assertTrue(page.startswith(b"HTTP/1.1 200 OK\r\n"), page)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class Node(Peer):
    names = ("nodejs", "node")

    def its_server(self):
        return Server(self.tool, os.path.join(HERE, "node_server.js"), self.certificate, self.key)

    @over_both
    def test_its_fetch(self, url):
        self.run_tool(os.path.join(HERE, "node_client.js"), url,
                      env={**os.environ, "NODE_EXTRA_CA_CERTS": self.authority})

    def test_its_server(self):
        with self.its_server() as server:
            for kind, port in zip(("http", "https"), server.ports):
                url = f"{kind}://localhost:{port}"
                with self.subTest(url):
                    got = self.fetch(url + "/chunked").stdout
                    self.assertEqual(got, b"".join(b"chunk %d\n" % i for i in range(1, 1001)))
                    self.assertEqual(self.fetch(url + "/trailers").stdout, b"text")
                    self.assertEqual(self.fetch("--compressed", url + "/gzip").stdout,
                                     b"text" * 100_000)
                    got = self.fetch("-i", "-T", self.big_path, url + "/echo").stdout
                    self.assertIn(b"\r\nX-Asked: PUT undefined\r\n", got)
                    self.assertTrue(got.endswith(b"\r\n\r\n" + self.big))
                    got = self.fetch("-L", "--data-binary", "@" + self.big_path, url + "/moved").stdout
                    self.assertEqual(got, self.big)
                    for _ in range(5):
                        got = self.fetch("-T", self.big_path, url + "/refused").stdout
                        self.assertEqual(got, b"too large")

    def test_its_server_has_closed_the_connection_that_is_kept(self):
        with self.its_server() as server:
            got = self.fetch("-v", "--retry", "1", "-T", self.put("small.bin", b"small"),
                             f"http://localhost:{server.port}/later")
            self.assertEqual(got.stdout, b"small")
            self.assertEqual(got.stderr.count(b"* connected to "), 2, got.stderr)


class Chromium(Peer):
    names = ("chromium-headless-shell", "chromium")

    def assets(self):
        def picture(red, green):
            def chunk(kind, data):
                return (struct.pack(">I", len(data)) + kind + data
                        + struct.pack(">I", zlib.crc32(kind + data)))
            rows = (b"\0" + bytes((red, green, 0)) * 40) * 40
            head = struct.pack(">IIBBBBB", 40, 40, 8, 2, 0, 0, 0)
            return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
                    + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))
        sound = io.BytesIO()
        with wave.open(sound, "wb") as file:
            file.setparams((1, 2, 44100, 0, "NONE", ""))
            file.writeframes(bytes(2 * 44100 * 60))  # a minute: the end of it has to be asked for
        return {
            "style.css": b"#styled { color: rgb(1, 2, 3); }", "red.png": picture(255, 0),
            "green.png": picture(0, 255), "sound.wav": sound.getvalue(),
            "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="30"/>',
            "plain.js": b"window.plain = 'plain';",
            "module.js": b"window.module = import.meta.url;",
            "data.json": json.dumps(list(range(10000))).encode(), "text.txt": b"text\n" * 10000,
            "large.bin": self.big}

    def browse(self, url):
        """What the page tells of itself."""
        home = self.enterContext(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        key = subprocess.run(["openssl", "x509", "-in", self.certificate, "-noout", "-pubkey"],
                             check=True, capture_output=True, text=True).stdout
        packed = base64.b64decode("".join(key.splitlines()[1:-1]))
        trusted = base64.b64encode(hashlib.sha256(packed).digest()).decode()
        told = queue.SimpleQueue()
        listener = http_clients.Server(("127.0.0.1", 0), http_clients.Handler)
        listener.seen = types.SimpleNamespace(append=told.put)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [self.tool, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
             "--mute-audio", "--user-data-dir=" + home, "--remote-debugging-port=0",
             "--ignore-certificate-errors-spki-list=" + trusted,
             f"{url}#http://127.0.0.1:{listener.server_port}/"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": home}, start_new_session=True)
        try:
            return json.loads(told.get(timeout=PATIENCE)[3])
        finally:
            os.killpg(browser.pid, signal.SIGKILL)  # with the processes that it has started
            browser.wait()
            listener.shutdown()
            listener.server_close()

    def test_a_page_of_ten_assets(self):
        assets = self.assets()
        for name, content in assets.items():
            self.put(name, content)
        self.put("text.txt.gz", gzip.compress(assets["text.txt"]))
        shutil.copy(os.path.join(HERE, "ten_assets.html"), self.root)
        sums = {name: digest(content) for name, content in assets.items()}
        for url in (self.http, self.https):
            with self.subTest(url):
                report = self.browse(url + "/files/ten_assets.html")
                self.assertLessEqual(len(set(report.pop("ports"))), 6)  # it opens no more at once
                self.assertEqual(report, {
                    "first": sums, "again": sums, "colour": "rgb(1, 2, 3)", "widths": [40, 40, 30],
                    "scripts": ["plain", url + "/files/module.js"], "sound": [60, 50],
                    "part": assets["data.json"][5:10].decode(), "missing": 404, "echoed": True,
                    "uploaded": ['ä "b".bin', 3_000_000], "events": ["event 1", "event 2"]})
        self.stop()
        log = read(self.log).decode()
        for name in assets:
            for url in (self.http, self.https):
                told = rf'"GET /files/{re.escape(name)} HTTP/1.1" (\d+) \d+ "{url}/'
                codes = re.findall(told, log)
                self.assertEqual(set(codes) - {"200", "206", "304"}, set(), name)
                self.assertIn("206" if name == "sound.wav" else "200", codes, name)
                self.assertIn("304", codes, name)


def main():
    programs.FOLDER = http_clients.FOLDER = os.path.abspath(sys.argv.pop(1))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(ALL_SKIPPED if result.skipped and not result.testsRun else 0)


if __name__ == "__main__":
    main()
