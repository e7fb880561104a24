"""http_client and simple_web_client against Python's HTTP servers, tried as a user would.

http_clients.py FOLDER [unittest arguments]: FOLDER holds the programs. Loopback and free ports only.
"""

import base64
import email
import gzip
import http.server
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

FOLDER = ""
PATIENCE = 30  # seconds after which something that should have happened has not


def run(name, *arguments, environment=None, **more):
    known = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return subprocess.run([os.path.join(FOLDER, name), *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=PATIENCE,
                          env={**known, **(environment or {})}, **more)


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that has left is no error."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, *fields):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size + 2)[:-2]
            self.rfile.readline()
        self.server.seen.append((self.command, self.path, self.headers, body))
        if self.path == "/moved":
            self.answer(302, b"elsewhere", ("Location", "/there"))
        elif self.path == "/missing":
            self.answer(404, b"not here")
        elif self.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
            self.close_connection = True
        elif self.path == "/slow":
            self.server.released.wait(PATIENCE)
        elif self.path == "/flaky" and len(self.server.seen) < 3:
            self.answer(503, b"busy", ("Retry-After", "0"))
        elif self.path == "/gzip":
            wanted = "gzip" in self.headers.get("Accept-Encoding", "")
            if wanted:
                self.answer(200, gzip.compress(b"text" * 1000), ("Content-Encoding", "gzip"))
            else:
                self.answer(200, b"plain")
        elif self.path == "/private":
            expected = "Basic " + base64.b64encode(b"me:s3cret").decode()
            self.answer(200 if self.headers.get("Authorization") == expected else 401, b"mine")
        else:
            self.answer(200, f"{self.command} {self.path} ".encode() + body, ("X-Name", "value"))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PROPFIND = handle_any

    def log_message(self, *_):
        pass


class HttpClient(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.seen = []
        self.server.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tearDown(self):
        self.server.released.set()
        self.server.shutdown()
        self.server.server_close()

    def fetch(self, *arguments, code=0, **more):
        outcome = run("http_client", *arguments, **more)
        self.assertEqual(outcome.returncode, code, outcome)
        return outcome

    def test_the_body_goes_to_standard_output_and_nothing_else(self):
        outcome = self.fetch(self.url + "/x")
        self.assertEqual(outcome.stdout, b"GET /x ")
        self.assertEqual(outcome.stderr, b"")
        self.assertEqual(self.fetch(self.url[7:] + "/y").stdout, b"GET /y ")

    def test_heads_are_shown_when_asked_for(self):
        outcome = self.fetch("-I", self.url)
        self.assertTrue(outcome.stdout.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(outcome.stdout.endswith(b"\r\n\r\n"))
        self.assertEqual(self.server.seen[-1][0], "HEAD")
        self.assertIn(b"X-Name: value\r\n\r\nGET / ", self.fetch("-i", self.url).stdout)

    def test_methods_fields_and_bodies(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes(range(256)) * 1000)
            file.flush()
            self.fetch("-X", "PROPFIND", "-H", "A: 1", "-H", "b:2", "-A", "me", self.url)
            self.fetch("-d", "a=1", "-d", "b=2", self.url)
            self.fetch("--json", '{"a": 1}', self.url)
            self.fetch("--data-binary", "@" + file.name, self.url)
            self.fetch("-T", file.name, self.url + "/up")
            self.fetch("-F", "a=1", "-F", "f=@" + file.name, self.url)
            content = read(file.name)
        find, data, json, at_file, upload, form = self.server.seen
        self.assertEqual((find[0], find[2]["A"], find[2]["B"], find[2]["User-Agent"]),
                         ("PROPFIND", "1", "2", "me"))
        self.assertEqual((data[0], data[3]), ("POST", b"a=1&b=2"))
        self.assertEqual(data[2]["Content-Type"], "application/x-www-form-urlencoded")
        self.assertEqual((json[2]["Content-Type"], json[3]), ("application/json", b'{"a": 1}'))
        self.assertEqual(at_file[3], content)
        self.assertEqual((upload[0], upload[1], upload[3]), ("PUT", "/up", content))
        parsed = email.message_from_bytes(
            b"Content-Type: " + form[2]["Content-Type"].encode() + b"\r\n\r\n" + form[3])
        one, two = parsed.get_payload()
        self.assertEqual(one.get_payload(decode=True), b"1")
        self.assertEqual(two.get_filename(), os.path.basename(file.name))
        self.assertEqual(two.get_payload(decode=True), content)

    def test_data_is_read_from_files_and_the_standard_input(self):
        with tempfile.NamedTemporaryFile(suffix=".txt") as file:
            file.write(b"a=1&\r\nb=2\n")
            file.flush()
            self.fetch("-d", "@" + file.name, self.url)
            self.fetch("--json", "[1,", "--json", "2]", self.url)
            with open(file.name, "rb") as given:
                subprocess.run([os.path.join(FOLDER, "http_client"), "--data-binary", "@-", self.url],
                               stdin=given, check=True, capture_output=True, timeout=PATIENCE)
            self.fetch("-F", f"a=@{file.name};type=text/x-own;filename=other", "-F",
                       f"b=<{file.name}", self.url)
            self.fetch("-F", "c=1;type=kept", self.url)
        form, json, binary, parts, lone = self.server.seen
        self.assertEqual([each[3] for each in (form, json, binary)],
                         [b"a=1&b=2", b"[1,2]", b"a=1&\r\nb=2\n"])
        parse = lambda seen: email.message_from_bytes(
            b"Content-Type: " + seen[2]["Content-Type"].encode() + b"\r\n\r\n" + seen[3]).get_payload()
        one, two = parse(parts)
        self.assertEqual((one.get_content_type(), one.get_filename()), ("text/x-own", "other"))
        self.assertEqual(two.get_payload(decode=True).rstrip(b"\r\n"), b"a=1&\r\nb=2")
        self.assertIsNone(two.get_filename())
        self.assertEqual(parse(lone)[0].get_payload(), "1;type=kept")

    def test_fields_of_ours_can_be_left_out_and_others_be_empty(self):
        self.fetch("-H", "User-Agent:", "-H", "accept: ", "-H", "X-Empty;", self.url)
        self.fetch("-H", "Content-Type:", "-d", "x", self.url)
        self.fetch("-H", "no field", self.url, code=1)
        got, posted = self.server.seen
        self.assertEqual(sorted(got[2].keys()), ["Host", "X-Empty"])
        self.assertEqual(got[2]["X-Empty"], "")
        self.assertNotIn("Content-Type", posted[2])

    def test_heads_on_the_way_are_shown_too(self):
        for option in "-i", "-I":
            outcome = self.fetch(option, "-L", self.url + "/moved").stdout
            self.assertTrue(outcome.startswith(b"HTTP/1.1 302 Found\r\n"), outcome)
            self.assertEqual(outcome.count(b"HTTP/1.1 "), 2)

    def test_a_redirect_does_not_choose_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            self.fetch("-sSOL", self.url + "/moved", cwd=folder)
            self.assertEqual(os.listdir(folder), ["moved"])
            self.assertEqual(read(os.path.join(folder, "moved")), b"GET /there ")

    def test_redirects_are_followed_when_told_to(self):
        self.assertEqual(self.fetch(self.url + "/moved").stdout, b"elsewhere")
        self.assertEqual(self.fetch("-L", self.url + "/moved").stdout, b"GET /there ")
        self.assertEqual(self.fetch("-L", "-d", "x", self.url + "/moved").stdout, b"GET /there ")

    def test_the_exit_code_says_whether_it_is_whole(self):
        self.assertEqual(self.fetch(self.url + "/missing").stdout, b"not here")
        failed = self.fetch("-f", self.url + "/missing", code=1)
        self.assertEqual(failed.stdout, b"")
        self.assertIn(b"/missing: 404 Not Found\n", failed.stderr)
        cut = self.fetch(self.url + "/cut", code=1)
        self.assertIn(b"ended in the middle of a message", cut.stderr)
        refused = self.fetch("http://127.0.0.1:1/", code=1)
        self.assertIn(b"connect 127.0.0.1:1: Connection refused", refused.stderr)

    def test_no_time_is_no_limit(self):
        self.assertEqual(self.fetch("-m", "0", "--connect-timeout", "0", self.url).stdout, b"GET / ")

    def test_limits_of_time(self):
        begin = time.monotonic()
        slow = self.fetch("--max-time", "0.3", self.url + "/slow", code=1)
        self.assertIn(b"timed out", slow.stderr)
        self.assertLess(time.monotonic() - begin, PATIENCE / 2)
        program = subprocess.Popen([os.path.join(FOLDER, "http_client"), self.url + "/slow"])
        while not any(each[1] == "/slow" for each in self.server.seen[1:]):
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        self.assertNotEqual(program.wait(PATIENCE), 0)

    def test_retries(self):
        self.fetch("-f", self.url + "/flaky", code=1)
        self.assertEqual(self.fetch("-f", "--retry", "3", self.url + "/flaky").returncode, 0)

    def test_secrets_stay_off_the_command_line_and_the_screen(self):
        refused = self.fetch("-u", "me:s3cret", self.url, code=1)
        self.assertIn(b"RILL_PASSWORD", refused.stderr)
        self.assertNotIn(b"s3cret", refused.stderr)
        by_variable = self.fetch("-f", "-v", "-u", "me", self.url + "/private",
                                 environment={"RILL_PASSWORD": "s3cret"})
        self.assertIn(b"> Authorization: (hidden)\n", by_variable.stderr)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("s3cret\n")
            file.flush()
            self.fetch("-f", "-u", "me", "--password-file", file.name, self.url + "/private")

    def test_verbose_tells_what_was_said(self):
        said = self.fetch("-v", self.url + "/x").stderr.decode()
        self.assertIn(f"* connected to 127.0.0.1:{self.server.server_port}\n", said)
        self.assertIn("> GET /x HTTP/1.1\n", said)
        self.assertIn("< HTTP/1.1 200 OK\n", said)
        self.assertIn("< X-Name: value\n", said)

    def test_addresses_and_proxies(self):
        port = self.server.server_port
        self.fetch("--resolve", f"www.example:{port}:127.0.0.1", f"http://www.example:{port}/r")
        self.assertEqual(self.server.seen[-1][2]["Host"], f"www.example:{port}")
        self.fetch("--proxy", self.url, "http://www.example/by/proxy")
        self.assertEqual(self.server.seen[-1][1], "http://www.example/by/proxy")
        self.fetch("http://www.example/by/variable", environment={"http_proxy": self.url})
        self.assertEqual(self.server.seen[-1][1], "http://www.example/by/variable")

    def test_compressed_bodies_are_decoded_when_asked_for(self):
        self.assertEqual(self.fetch(self.url + "/gzip").stdout, b"plain")
        self.assertEqual(self.fetch("--compressed", self.url + "/gzip").stdout, b"text" * 1000)

    def test_https_believes_whom_it_is_told_to(self):
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                            "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
                            "-keyout", key, "-out", certificate], check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
            url = "https" + self.url[4:] + "/x"
            self.assertEqual(self.fetch("--cacert", certificate, url).stdout, b"GET /x ")
            self.assertEqual(self.fetch("-k", url).stdout, b"GET /x ")
            refused = self.fetch(url, code=1)
            self.assertIn(b"self-signed", refused.stderr)
            wrong = self.fetch("--cacert", certificate, url.replace("127.0.0.1", "localhost"),
                               code=1)
            self.assertIn(b"TLS handshake localhost", wrong.stderr)

    def test_a_file_of_pythons_own_server(self):
        with tempfile.TemporaryDirectory() as folder:
            content = os.urandom(3_000_000)
            with open(os.path.join(folder, "file.bin"), "wb") as file:
                file.write(content)
            server = subprocess.Popen(
                [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
                cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                port = re.search(rb"port (\d+)", server.stdout.readline()).group(1).decode()
                url = f"http://127.0.0.1:{port}/"
                out = os.path.join(folder, "out")
                self.fetch("-o", out, url + "file.bin")
                self.assertEqual(read(out), content)
                os.mkdir(os.path.join(folder, "here"))
                self.fetch("-O", url + "file.bin", cwd=os.path.join(folder, "here"))
                self.assertEqual(read(os.path.join(folder, "here/file.bin")), content)
                self.fetch("-O", url, code=1)
                page = run("simple_web_client", "127.0.0.1", "/file.bin", "--port", port)
                self.assertEqual(page.returncode, 0, page)
                self.assertTrue(page.stdout.startswith(b"HTTP/1.0 200 OK\r\n"))
                self.assertLessEqual(len(page.stdout), 201)
            finally:
                server.kill()
                server.wait()
                server.stdout.close()


if __name__ == "__main__":
    FOLDER = os.path.abspath(sys.argv.pop(1))
    unittest.main()
