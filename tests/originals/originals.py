"""rill's programs against programs as people write them with Python's sockets, both ways.

originals.py FOLDER [unittest arguments]: FOLDER holds rill's programs. Loopback and free ports.

Every test of `Originals` runs with the peers of peers.py. Where the environment variable
RILL_ORIGINALS names a text with Python programs in it, it runs with those of the text too, taken
out of it here. README.md says which is which and what is changed.
"""

import email
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

FOLDER = ""
PATIENCE = 30  # seconds after which something that should have happened has not
PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers.py")
PYTHON = [sys.executable, "-u"]
HERE = ["--host", "127.0.0.1", "--port", "0"]


def rill(name, *arguments):
    return [os.path.join(FOLDER, name), *map(str, arguments)]


def start(command, stdin=subprocess.DEVNULL):
    known = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**known, "PYTHONUTF8": "1"})


def run(*commands):
    """All at once; what each says on standard output."""
    said = []
    for running in [start(command) for command in commands]:
        try:
            output, errors = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            running.kill()
            raise AssertionError(f"{running.args} hangs: {running.communicate()}") from None
        said.append((output.decode(), errors.decode(), running.returncode))
    return said


class Running:
    """A program that stays, after it has said that it is there."""

    def __init__(self, command):
        self.process = start(command)
        self.greeting = self.process.stdout.readline().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    @property
    def port(self):
        return int(re.search(r":(\d+)/?$", self.greeting.strip())[1])

    def end(self, number=signal.SIGINT):
        """What it has said after its greeting."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=PATIENCE)[0].decode()


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serving(make_command, kind=socket.SOCK_STREAM):
    """A Python server, which cannot be told to take any port: one that is free just now."""
    for _ in range(5):  # somebody else may take it before the server does
        server = Running(make_command(free_port(kind)))
        if server.greeting:
            return server
        errors = server.process.communicate()[1].decode()
        if "Address already in use" not in errors:
            break
    raise AssertionError(errors)


class OwnPeers:
    """Those of peers.py."""

    def __getattr__(self, name):
        return lambda *arguments: [*PYTHON, PEERS, name, *map(str, arguments)]


class TextPeers:
    """Those of the text that RILL_ORIGINALS names."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        self.blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    def program(self, holds, *changes, then=""):
        """The one block that defines `holds`, with each change made, which must be possible."""
        found = [block for block in self.blocks if holds in block]
        assert len(found) == 1, f"{len(found)} programs have {holds}"
        code = found[0]
        for old, new in changes:
            assert old in code, f"{old} is not in the program that has {holds}"
            code = code.replace(old, new)
        return [*PYTHON, "-c", code + then]

    def echo_server(self, port):
        return self.program("def simple_echo_server", ("8888", str(port)))

    def http_server(self, port):
        return self.program("def http_server", ("8080", str(port)))

    def udp_server(self, port):
        return self.program("def udp_server", ("9999", str(port)), then="\nudp_server()\n")

    def udp_client(self, port):
        return self.program("def udp_client", ("9999", str(port)), then="\nudp_client()\n")

    def web_client(self, host, port):
        return self.program("def simple_web_client", ("'www.google.com', 80", f"{host!r}, {port}"),
                            ("www.google.com", host))

    def robust_client(self, host, port, message, patience):
        return self.program("def robust_client",
                            ("'localhost', 8888, 'Hello Server!'",
                             f"{host!r}, {port}, {message!r}"),
                            ("settimeout(5.0)", f"settimeout({patience})"))

    def chat_server(self, port):
        return self.program("class ChatServer", ("12345", str(port)))

    def mail_client(self, host, port):
        return self.program("def send_email_example",
                            ("'smtp.gmail.com', 587", f"{host!r}, {port}"),
                            then="\nsend_email_example()\n")

    def requests_client(self, get_url, post_url):
        return self.program("def advanced_http_client", ("https://httpbin.org/json", get_url),
                            ("https://httpbin.org/post", post_url))


class Chatter:
    """A client of the chat, written from what its server does: a name when asked, then chunks."""

    def __init__(self, port, name):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.hears("NICK")
        self.says(name)
        self.hears(f"{name} joined the chat!")

    def says(self, text):
        self.socket.sendall(text.encode())

    def hears(self, text):
        """The next that comes, to the byte and no more."""
        expected, came = text.encode(), b""
        while len(came) < len(expected):
            piece = self.socket.recv(len(expected) - len(came))
            if not piece:
                break
            came += piece
        assert came == expected, f"{came} came, not {expected}"

    def leaves(self):
        self.socket.close()


class Stranger:
    """A server of the test's own: does `behave(connection)` with each that comes."""

    def __init__(self, behave):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self.listener.getsockname()[1]
        self.kept = []
        self.thread = threading.Thread(target=self.serve, args=(behave,))
        self.thread.start()

    def serve(self, behave):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.kept.append(peer)
            behave(peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for peer in self.kept:
            peer.close()


def say_nothing(_):
    pass


def hang_up(peer):
    peer.recv(1024)
    peer.close()


def reset(peer):
    peer.recv(1024)
    cut(peer)


def cut(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


class Originals:
    """Mixed into a TestCase that has `peers`."""

    maxDiff = None

    def said(self, command, code=0):
        [(output, errors, ended)] = run(command)
        self.assertEqual((ended, errors), (code, ""), output)
        return output

    # Our clients, Python's servers.

    def test_the_echo_server_answers_our_echo_client(self):
        with serving(self.peers.echo_server) as server:
            for message in ("hello", "žluťoučký kůň", "x" * 1018):
                self.assertEqual(self.said(rill("echo_client", "localhost", server.port, message)),
                                 f"Echo: {message}\n")
            said = re.sub(r"\('127\.0\.0\.1', \d+\)", "PEER", server.end())
        self.assertEqual(said, "Connection from PEER\nReceived: hello\n"
                         "Connection from PEER\nReceived: žluťoučký kůň\n"
                         f"Connection from PEER\nReceived: {'x' * 1018}\n"
                         "Server shutting down...\n")

    def test_the_echo_server_answers_our_robust_client(self):
        with serving(self.peers.echo_server) as server:
            self.assertEqual(server.greeting, f"Server listening on localhost:{server.port}\n")
            command = rill("robust_client", "localhost", server.port, "Hello Server!")
            self.assertEqual(self.said(command), "Success: Echo: Hello Server!\n")

    def test_the_http_server_answers_our_http_client(self):
        with serving(self.peers.http_server) as server:
            url = f"http://localhost:{server.port}/a/b?c=d"
            page = self.said(rill("http_client", url))
            said = server.process.stdout.readline().decode()
        self.assertRegex(page, self.page("/a/b?c=d"))
        self.assertRegex(said, r"^Request from \('127\.0\.0\.1', \d+\):\n$")

    def test_the_http_server_answers_our_simple_web_client(self):
        with serving(self.peers.http_server) as server:
            said = self.said(rill("simple_web_client", "localhost", "--port", server.port))
        self.assertRegex(said, r"\AHTTP/1\.1 200 OK\nContent-Type: text/html\nContent-Length: \d+\n"
                         r"Connection: close\n\n\n {12}<html>")
        self.assertEqual(len(said), 201)

    def page(self, path):
        margin = r"\n {12}"
        return re.compile(
            r"\A" + margin + margin.join(
                ["<html>", "<head><title>My Python Server</title></head>", "<body>",
                 "    <h1>Hello from Python!</h1>", f"    <p>You requested: {re.escape(path)}</p>",
                 r"    <p>Current time: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+</p>",
                 r"    <p>Your address: 127\.0\.0\.1:\d+</p>", "</body>", "</html>"])
            + margin + r"\Z")

    def test_the_http_server_says_what_it_should_to_the_byte(self):
        with serving(self.peers.http_server) as server:
            self.assertEqual(server.greeting,
                             f"HTTP Server running on http://localhost:{server.port}\n")
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as asking:
                asking.sendall(b"GET /x HTTP/1.1\r\n\r\n")
                answer = b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        head, page = answer.split("\n\n", 1)
        self.assertEqual(head, "HTTP/1.1 200 OK\nContent-Type: text/html\n"
                         f"Content-Length: {len(page)}\nConnection: close")
        self.assertRegex(page, self.page("/x"))

    def test_the_udp_server_answers_our_udp_client(self):
        with serving(self.peers.udp_server, socket.SOCK_DGRAM) as server:
            self.assertEqual(server.greeting, f"UDP Server listening on localhost:{server.port}\n")
            for message in ("hello", "žluťoučký kůň"):
                command = rill("udp_echo_client", "localhost", server.port, message)
                self.assertEqual(self.said(command), f"Echo: {message}\n")
                said = server.process.stdout.readline().decode()
                self.assertRegex(said, rf"^Received from \('127\.0\.0\.1', \d+\): {message}\n$")

    def test_the_chat_server_takes_our_chat_client(self):
        if not os.path.exists(rill("chat_client")[0]):
            self.skipTest("chat_client is not built")
        with serving(self.peers.chat_server) as server:
            self.assertEqual(server.greeting, f"Chat server running on localhost:{server.port}\n")
            bob = Chatter(server.port, "bob")
            alice = start(rill("chat_client", "localhost", server.port, "--nick", "alice"),
                          subprocess.PIPE)
            try:
                bob.hears("alice joined the chat!")
                self.assertEqual(alice.stdout.readline(), b"alice joined the chat!\n")
                bob.says("hello alice")
                self.assertEqual(alice.stdout.readline(), b"hello alice\n")
                alice.stdin.write("naïve?\n".encode())
                alice.stdin.flush()
                bob.hears("alice: naïve?")
                alice.stdin.close()
                bob.hears("alice left the chat!")
                self.assertEqual(alice.wait(PATIENCE), 0)
            finally:
                alice.kill()
                alice.stdout.close()
                alice.stderr.close()
                alice.wait()
                bob.leaves()
            said = re.sub(r"\('127\.0\.0\.1', \d+\)", "PEER", server.end(signal.SIGKILL))
        self.assertEqual(said, "Connected with PEER\nNickname of client is bob\n"
                         "Connected with PEER\nNickname of client is alice\n")

    def converse(self, port):
        alice = Chatter(port, "alice")
        bob = Chatter(port, "bob")
        alice.hears("bob joined the chat!")
        carol = Chatter(port, "carol")
        alice.hears("carol joined the chat!")
        bob.hears("carol joined the chat!")
        alice.says("hello, all")
        bob.hears("hello, all")
        carol.hears("hello, all")
        bob.says("žluťoučký kůň")
        alice.hears("žluťoučký kůň")
        carol.hears("žluťoučký kůň")
        bob.leaves()
        alice.hears("bob left the chat!")
        carol.hears("bob left the chat!")
        carol.says("two are left")
        alice.hears("two are left")
        alice.leaves()
        carol.hears("alice left the chat!")
        carol.leaves()

    def test_the_chat_server_does_what_ours_does(self):
        with serving(self.peers.chat_server) as server:
            self.converse(server.port)

    # Python's clients, our servers.

    def test_our_echo_server_answers_the_robust_client(self):
        with Running(rill("echo_server", *HERE, "--prefix", "Echo: ")) as server:
            command = self.peers.robust_client("localhost", server.port, "Hello Server!", 5.0)
            self.assertEqual(self.said(command), "Success: Echo: Hello Server!\n")

    def test_our_udp_server_answers_the_udp_client(self):
        with Running(rill("udp_echo_server", *HERE, "--prefix", "Echo: ")) as server:
            self.assertEqual(self.said(self.peers.udp_client(server.port)),
                             "Server response: Echo: Hello UDP Server!\n")

    def test_our_http_server_shows_both_web_clients_the_same(self):
        with Running(rill("http_server", *HERE)) as server:
            theirs = self.said(self.peers.web_client("127.0.0.1", server.port))
            ours = self.said(rill("simple_web_client", "127.0.0.1", "--port", server.port))
        self.assertTrue(theirs.startswith("HTTP/1.1 200 OK\r\n"), theirs)
        self.assertEqual(len(theirs), 201)
        self.assertEqual(self.timeless(theirs), self.timeless(ours))

    def timeless(self, answer):
        return re.sub(r"(Date|X-Request-Id|Current time): [^\r\n<]*", r"\1", answer)

    def test_our_http_server_answers_requests(self):
        try:
            import requests  # noqa: F401: whether it is there
        except ImportError:
            self.skipTest("python3-requests is not installed")
        with Running(rill("http_server", *HERE)) as server:
            url = f"http://127.0.0.1:{server.port}"
            said = self.said(self.peers.requests_client(url + "/json", url + "/echo")).splitlines()
        self.assertEqual(said[0], "Status Code: 200")
        self.assertIn("'Content-Type': 'application/json'", said[1])
        self.assertEqual(said[2:], ["Content: {'message': 'Hello, World!'}",
                                    "POST Response: {'name': 'Python', 'type': 'language'}"])

    def test_our_json_client_says_what_requests_says(self):
        with Running(rill("http_server", *HERE)) as server:
            url = f"http://127.0.0.1:{server.port}"
            said = self.said(rill("json_client", url + "/json", url + "/echo"))
        self.assertRegex(said, r"\AStatus Code: 200\n"
                         r"Headers: HTTP/1\.1 200 OK\r\n(.+: .+\r\n)+\r\n\n"
                         r'Content: {"message":"Hello, World!"}\n'
                         r'POST Response: {"name":"rill","type":"library"}\n\Z')

    def test_our_mail_sink_takes_a_message_of_smtplib(self):
        with tempfile.TemporaryDirectory() as folder:
            key, chain = os.path.join(folder, "key.pem"), os.path.join(folder, "chain.pem")
            run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                 "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", chain,
                 "-days", "2", "-subj", "/CN=localhost"])
            box = os.path.join(folder, "box")
            sink = rill("mail_sink", *HERE, "--certificate", chain, "--key", key,
                        "--user", "your_email@example.com", "--maildir", box)
            for password, said in (("your_password", r"Email sent successfully!\n"),
                                   ("another", r"Email failed: \(535, b'.*'\)\n")):
                os.environ["RILL_PASSWORD"] = password
                with Running(sink) as server:
                    del os.environ["RILL_PASSWORD"]
                    self.assertRegex(self.said(self.peers.mail_client("127.0.0.1", server.port)),
                                     r"\A" + said + r"\Z")
            [name] = os.listdir(os.path.join(box, "new"))
            with open(os.path.join(box, "new", name), "rb") as file:
                came = email.message_from_binary_file(file)
        self.assertEqual((came["Subject"], came["From"], came["To"], came.get_payload().rstrip()),
                         ("Test Email", "your_email@example.com", "friend@example.com",
                          "Hello from Python!"))

    # The robust clients beside each other: the same words for the same trouble.

    def same(self, host, port, message="Hello Server!", patience="200ms", code=1):
        seconds = int(patience.removesuffix("ms")) / 1000
        theirs, ours = run(self.peers.robust_client(host, port, message, seconds),
                           rill("robust_client", host, port, message, "--timeout", patience))
        self.assertEqual((ours[1:], theirs[1:]), (("", code), ("", 0)), (ours, theirs))
        self.assertEqual(ours[0], theirs[0])
        return ours[0]

    def all_attempts(self, failure):
        return "".join(f"Attempt {number}: {failure}\n{then}\n" for number, then in
                       ((1, "Retrying in 1 seconds..."), (2, "Retrying in 1 seconds..."),
                        (3, "Failed to communicate with server")))

    def test_a_port_on_which_nobody_listens(self):
        self.assertEqual(self.same("localhost", free_port()),
                         self.all_attempts("Connection refused"))

    def test_a_server_that_says_nothing(self):
        with Stranger(say_nothing) as server:
            self.assertEqual(self.same("127.0.0.1", server.port),
                             self.all_attempts("Connection timed out"))

    def test_a_server_that_resets(self):
        with Stranger(reset) as server:
            self.assertEqual(
                self.same("127.0.0.1", server.port, patience="5000ms"),
                self.all_attempts("Unexpected error: [Errno 104] Connection reset by peer"))

    def test_a_server_that_hangs_up_without_a_word(self):
        with Stranger(hang_up) as server:
            self.assertEqual(self.same("127.0.0.1", server.port, patience="5000ms"),
                             "Failed to communicate with server\n")

    def test_a_server_that_answers_at_last(self):
        seen = {}

        def answer_at_last(peer):
            text = peer.recv(1024)
            seen[text] = seen.get(text, 0) + 1
            if seen[text] == 3:
                peer.sendall(b"here I am")
                peer.close()
            else:
                cut(peer)

        failed = ("Unexpected error: [Errno 104] Connection reset by peer\n"
                  "Retrying in 1 seconds...\n")
        expected = f"Attempt 1: {failed}Attempt 2: {failed}Success: here I am\n"
        for make in (lambda *of: self.peers.robust_client(*of, 5.0),
                     lambda *of: rill("robust_client", *of)):
            seen.clear()
            with Stranger(answer_at_last) as server:
                self.assertEqual(self.said(make("127.0.0.1", server.port, "x")), expected)

    def test_a_name_that_nobody_has(self):
        theirs, ours = run(self.peers.robust_client("no.such.invalid", 80, "x", 1),
                           rill("robust_client", "no.such.invalid", 80, "x"))
        nobody = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.assertEqual(ours[0], self.all_attempts(f"Address resolution failed: {nobody}"))
        # Theirs asks a name server first, which may not be there.
        self.assertIn(theirs[0], (ours[0], self.all_attempts(
            "Address resolution failed: [Errno -3] Temporary failure in name resolution")))


class WithOwnPeers(Originals, unittest.TestCase):
    peers = OwnPeers()


class WithTheText(Originals, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        path = os.environ.get("RILL_ORIGINALS")
        if not path:
            raise unittest.SkipTest("RILL_ORIGINALS names no text")
        cls.peers = TextPeers(path)


class ChatServer(unittest.TestCase):
    def test_ours_does_what_the_original_does(self):
        if not os.path.exists(rill("chat_server")[0]):
            self.skipTest("chat_server is not built")
        with Running(rill("chat_server", *HERE, "--http-port", 0)) as server:
            Originals.converse(self, server.port)

    def test_so_does_the_small_one(self):
        with Running(rill("13_small_chat")) as server:
            Originals.converse(self, server.port)


class RobustClient(unittest.TestCase):
    """What ours promises beyond the original."""

    def test_attempts_and_delay_are_what_the_command_line_says(self):
        command = rill("robust_client", "127.0.0.1", free_port(), "x", "--retries", 2,
                       "--retry-delay", "10ms")
        [(output, errors, code)] = run(command)
        self.assertEqual((output, errors, code), (
            "Attempt 1: Connection refused\nRetrying in 0.01 seconds...\n"
            "Attempt 2: Connection refused\nFailed to communicate with server\n", "", 1))

    def test_a_look_up_without_an_answer_is_a_failure_of_the_resolution(self):
        """In a mount namespace of its own, whose name server receives and is silent."""
        if os.geteuid() != 0:
            self.skipTest("needs root")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            try:
                silent.bind(("127.0.0.54", 53))
            except OSError as error:
                self.skipTest(f"port 53: {error}")
            command = rill("robust_client", "host.example", 80, "x", "--retries", 1,
                           "--timeout", "300ms")
            script = ("set -e; conf=$(mktemp); echo 'nameserver 127.0.0.54' > $conf; "
                      "mount --bind $conf /etc/resolv.conf; rm $conf; exec \"$@\"")
            command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
            [(output, errors, code)] = run(command)
            if "unshare" in errors or "mount" in errors:
                self.skipTest(errors)
            self.assertEqual((output, errors, code), (
                "Attempt 1: Address resolution failed: "
                "[Errno -3] Temporary failure in name resolution\n"
                "Failed to communicate with server\n", "", 1))
            silent.settimeout(PATIENCE)
            self.assertIn(b"\x04host\x07example", silent.recv(512))


if __name__ == "__main__":
    FOLDER = sys.argv[1]
    unittest.main(argv=sys.argv[:1] + sys.argv[2:])
