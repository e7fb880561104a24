"""chat_server and chat_client: against each other, against clients and a server of the original
protocol (NICK, chunks, a thread for each client), and on a terminal.

chat.py FOLDER [unittest arguments]: FOLDER holds the programs. Loopback and free ports only.
"""

import fcntl
import json
import os
import pty
import re
import resource
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import urllib.request

import programs
from programs import PATIENCE, Programs, Server


class Peer:
    """A connection to a chat; what comes is looked for piece by piece."""

    def __init__(self, connected):
        self.socket = connected
        self.socket.settimeout(PATIENCE)
        self.seen = b""

    def say(self, text):
        self.socket.sendall(text)

    def until(self, wanted):
        """Everything up to and with `wanted`."""
        while wanted not in self.seen:
            came = self.socket.recv(65536)
            if not came:
                raise AssertionError(f"the end came before {wanted}: {self.seen}")
            self.seen += came
        found = self.seen.index(wanted) + len(wanted)
        before, self.seen = self.seen[:found], self.seen[found:]
        return before

    def rest(self):
        while came := self.socket.recv(65536):
            self.seen += came
        return self.seen

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class OriginalServer:
    """What the original server does: a thread for each client, chunks to all others. `delay` is
    what a nickname takes to it, and the announcement back, in seconds."""

    def __init__(self, delay=0):
        self.delay = delay
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.clients = {}
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            client.send(b"NICK")
            name = client.recv(1024).decode()
            time.sleep(self.delay)
            with self.lock:
                self.clients[client] = name
            self.broadcast(f"{name} joined the chat!".encode())
            threading.Thread(target=self.handle, args=(client,), daemon=True).start()

    def broadcast(self, message, sender=None):
        with self.lock:
            others = [client for client in self.clients if client is not sender]
        for client in others:
            try:
                client.send(message)
            except OSError:
                pass

    def handle(self, client):
        while True:
            try:
                message = client.recv(1024)
            except OSError:
                message = b""
            if not message:
                break
            self.broadcast(message, client)
        with self.lock:
            name = self.clients.pop(client)
        self.broadcast(f"{name} left the chat!".encode())
        client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        with self.lock:
            for client in self.clients:
                client.shutdown(socket.SHUT_RDWR)


class Chat(Programs):
    def raw(self, port, name):
        """A client of the original protocol: its nickname in one chunk, without a newline."""
        peer = Peer(socket.create_connection(("127.0.0.1", port), PATIENCE))
        self.addCleanup(peer.close)
        peer.until(b"NICK")
        peer.say(name)
        peer.until(name + b" joined the chat!")
        return peer

    def line(self, port, name):
        """What nc is: lines."""
        peer = Peer(socket.create_connection(("127.0.0.1", port), PATIENCE))
        self.addCleanup(peer.close)
        peer.until(b"NICK")
        peer.say(name + b"\n")
        peer.until(name + b" joined the chat!\n")
        return peer

    def client(self, port, name):
        process = subprocess.Popen(
            [programs.program("chat_client"), "127.0.0.1", str(port), "--nick", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def read_line(self, process):
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        self.assertTrue(ready, "a line")
        return process.stdout.readline()


class ChatServer(Chat):
    def server(self, *arguments):
        return Server("chat_server", "--port", "0", "--http-port", "0", *arguments)

    def stats(self, server):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.ports[-1]}/stats",
                                    timeout=PATIENCE) as answer:
            return json.load(answer)

    def test_it_says_where_it_listens(self):
        with self.server() as server:
            self.assertRegex(server.ready, r"^(ready: chat \S+:\d+\n)+(ready: http \S+:\d+\n)+$")

    def test_clients_of_the_original_protocol_talk(self):
        for threads in ("1", "3"):
            with self.server("--threads", threads) as server:
                alice = self.raw(server.port, b"alice")
                bob = self.raw(server.port, "Jürgen".encode())
                alice.until("Jürgen joined the chat!".encode())
                bob.say("Jürgen: grüß dich".encode())
                self.assertEqual(alice.until("dich".encode()), "Jürgen: grüß dich".encode())
                alice.say(b"alice: hello")
                self.assertEqual(bob.until(b"hello"), b"alice: hello")
                bob.close()
                alice.until("Jürgen left the chat!".encode())

    def test_lines_commands_and_rooms_on_several_threads(self):
        with self.server("--threads", "3") as server:
            alice = self.line(server.port, b"alice")
            others = [self.line(server.port, b"other%d" % i) for i in range(12)]
            alice.until(b"other11 joined the chat!\n")
            for number, other in enumerate(others):
                other.say(b"I am %d\r\n" % number)
            for _ in others:
                alice.until(b"I am ")
            alice.say(b"/join tea\n")
            alice.until(b"alice joined the chat!\n")
            others[0].until(b"alice left the chat!\n")
            alice.say(b"/rooms\n")
            listed = alice.until(b"\n") + alice.until(b"\n")  # in any order: each has its owner
            self.assertIn(b"-- lobby (12)\n", listed)
            self.assertIn(b"-- tea (1)\n", listed)
            alice.say(b"/msg other3 psst\n")
            others[3].until(b"-- alice to you: psst\n")
            alice.say(b"/quit\n")
            alice.rest()

    def test_everyone_sees_one_order_on_several_threads(self):
        count = 100
        with self.server("--threads", "4", "--rate", "0") as server:
            peers = [self.line(server.port, b"m%d" % i) for i in range(8)]
            for peer in peers:  # all are in the room before anybody speaks
                peer.say(b"/who\n")
                peer.until(b"-- in lobby: m0, m1, m2, m3, m4, m5, m6, m7\n")
            watcher = self.line(server.port, b"watcher")
            other = self.line(server.port, b"other")
            for peer in (watcher, other):
                peer.say(b"/who\n")
                peer.until(b"watcher\n")

            def speak(peer):
                for i in range(count):
                    peer.say(b"%d\n" % i)

            threads = [threading.Thread(target=speak, args=(peer,)) for peer in peers]
            for thread in threads:
                thread.start()
            seen = []
            for peer in (watcher, other):
                lines = [peer.until(b"\n") for _ in range(8 * count)]
                seen.append(lines)
            for thread in threads:
                thread.join()
            self.assertEqual(seen[0], seen[1])
            for i in range(8):
                self.assertEqual([line for line in seen[0] if line.startswith(b"m%d: " % i)],
                                 [b"m%d: %d\n" % (i, number) for number in range(count)])

    def test_newcomers_get_the_history_that_was_asked_for(self):
        with self.server("--history", "2") as server:
            alice = self.line(server.port, b"alice")
            alice.say(b"one\ntwo\nthree\n/who\n")
            alice.until(b"-- in lobby")
            bob = Peer(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            self.addCleanup(bob.close)
            bob.say(b"bob\n")
            self.assertEqual(bob.until(b"bob joined the chat!\n"),
                             b"NICKalice: two\nalice: three\nbob joined the chat!\n")

    def test_stats_tell_who_is_there(self):
        with self.server("--threads", "2") as server:
            alice = self.line(server.port, b"alice")
            self.line(server.port, b"bob")
            alice.say(b"hello\n/who\n")
            alice.until(b"-- in lobby: alice, bob\n")
            # Bob's loop may still hold what alice's has given it.
            end = time.monotonic() + PATIENCE
            while (stats := self.stats(server))["queued_bytes"] and time.monotonic() < end:
                time.sleep(0.01)
            for name, wanted in (("connections", 2), ("members", 2), ("rooms", 1), ("messages", 1),
                                 ("events", 3), ("missed", 0), ("queued_bytes", 0)):
                self.assertEqual(stats[name], wanted, stats)
            self.assertIn("messages_per_second", stats)

    def test_it_speaks_tls(self):
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = os.path.join(folder, "a.crt"), os.path.join(folder, "a.key")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-out", certificate, "-keyout",
                            key, "-days", "1", "-subj", "/CN=localhost", "-addext",
                            "subjectAltName=DNS:localhost"], check=True, capture_output=True)
            with self.server("--tls-cert", certificate, "--tls-key", key) as server:
                context = ssl.create_default_context(cafile=certificate)
                peers = []
                for name in (b"alice", b"bob"):
                    plain = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
                    peer = Peer(context.wrap_socket(plain, server_hostname="localhost"))
                    self.addCleanup(peer.close)
                    peer.until(b"NICK")
                    peer.say(name + b"\n")
                    peer.until(name + b" joined the chat!\n")
                    peers.append(peer)
                peers[0].say(b"hidden\n")
                peers[1].until(b"alice: hidden\n")
                server.signal()
                self.assertIn(b"-- the server is shutting down\n", peers[1].rest())
                self.assertEqual(server.wait(), 0)

    def test_connections_of_one_address_can_be_capped(self):
        with self.server("--max-per-address", "2") as server:
            first = self.line(server.port, b"first")
            self.line(server.port, b"second")
            third = Peer(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            self.addCleanup(third.close)
            self.assertEqual(third.rest(), b"-- there are too many connections from your address")
            first.say(b"/quit\n")
            first.rest()
            first.close()
            end = time.monotonic() + PATIENCE
            while self.stats(server)["connections"] != 1 and time.monotonic() < end:
                time.sleep(0.01)
            self.line(server.port, b"third")

    def test_it_tells_everyone_when_it_ends(self):
        for threads in ("1", "2"):
            with self.server("--threads", threads) as server:
                peers = [self.line(server.port, b"m%d" % i) for i in range(6)]
                raw = self.raw(server.port, b"raw")
                server.signal()
                for peer in peers:
                    self.assertTrue(peer.rest().endswith(b"-- the server is shutting down\n"))
                self.assertTrue(raw.rest().endswith(b"-- the server is shutting down"))
                self.assertEqual(server.wait(), 0)

    def test_a_member_that_never_reads_holds_up_nobody(self):
        with self.server("--rate", "0", "--queue", "64KiB") as server:
            stuck = Peer(socket.socket())
            stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.socket.connect(("127.0.0.1", server.port))
            self.addCleanup(stuck.close)
            stuck.say(b"stuck\n")
            alice = self.line(server.port, b"alice")
            bob = self.line(server.port, b"bob")
            alice.until(b"bob joined the chat!\n")
            text = b"x" * 1000
            slowest = 0
            for _ in range(6000):
                begin = time.monotonic()
                bob.say(text + b"\n")
                alice.until(b"bob: " + text + b"\n")
                slowest = max(slowest, time.monotonic() - begin)
            stats = self.stats(server)
            self.assertGreater(stats["missed"], 0)
            self.assertLessEqual(stats["queued_bytes"], 65536)
            alice.until(b"stuck left the chat!\n")
            # A busy machine may hold up anything for a while; a stuck member would for ever.
            self.assertLess(slowest, 2)

    def test_it_ends_at_once_whatever_it_has_too_few_descriptors_for(self):
        with tempfile.TemporaryDirectory() as log:
            outcomes = set()
            for count in range(8, 64):
                with subprocess.Popen(
                        [programs.program("chat_server"), "--port", "0", "--http-port", "0",
                         "--threads", "4", "--log", log],
                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                              (count, count))) as process:
                    said, _, _ = select.select([process.stdout], [], [], PATIENCE)
                    if said and process.stdout.read(1):  # it has begun: enough
                        process.terminate()
                    try:
                        process.communicate(timeout=PATIENCE if said else 0)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        self.fail(f"with {count} descriptors it never ends")
                    outcomes.add(process.returncode)
            self.assertEqual(outcomes, {0, 1})

    def test_what_cannot_be_is_one_line(self):
        with self.server() as server:
            self.refused(programs.run("chat_server", "--port", str(server.port), "--http-port", "0"),
                         "chat_server: ", "Address already in use")
        self.refused(programs.run("chat_server", "--tls-cert", "x"), "--tls-key")


class Page(Chat):
    """The page in Chromium, by Playwright: npm install playwright-core, where NODE_PATH finds it."""

    def test_two_browsers_and_a_line_client_talk_and_one_catches_up(self):
        found = shutil.which("node") and shutil.which("chromium-headless-shell")
        if not found or subprocess.run(["node", "-e", "require('playwright-core')"],
                                       capture_output=True).returncode != 0:
            self.skipTest("node, playwright-core or chromium-headless-shell is not installed")
        with Server("chat_server", "--port", "0", "--http-port", "0", "--rate", "0") as server:
            script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers",
                                  "chat_page.js")
            told = subprocess.run(["node", script, str(server.ports[-1]), str(server.port)],
                                  capture_output=True, text=True, timeout=110)
            self.assertEqual(told.returncode, 0, told.stdout + told.stderr)


class ChatClient(Chat):
    def test_two_talk_through_the_server(self):
        with Server("chat_server", "--port", "0", "--http-port", "0") as server:
            alice = self.client(server.port, "alice")
            self.assertEqual(self.read_line(alice), b"alice joined the chat!\n")
            bob = self.client(server.port, "bob")
            self.assertEqual(self.read_line(alice), b"bob joined the chat!\n")
            self.assertEqual(self.read_line(bob), b"bob joined the chat!\n")
            bob.stdin.write(b"hello\n/me waves\n")
            bob.stdin.flush()
            self.assertEqual(self.read_line(alice), b"bob: hello\n")
            self.assertEqual(self.read_line(alice), b"* bob waves\n")
            bob.stdin.close()
            self.assertEqual(bob.wait(PATIENCE), 0)
            self.assertEqual(self.read_line(alice), b"bob left the chat!\n")

    def test_it_talks_to_a_server_that_knows_chunks_only(self):
        with OriginalServer() as server:
            raw = self.raw(server.port, b"raw")
            bob = self.client(server.port, "bob")
            self.assertEqual(self.read_line(bob), b"bob joined the chat!\n")
            self.assertEqual(raw.until(b"!"), b"bob joined the chat!")
            bob.stdin.write(b"hello\n")
            bob.stdin.flush()
            self.assertEqual(raw.until(b"hello"), b"bob: hello")
            raw.say(b"raw: \x1b[2Jhi")
            self.assertEqual(self.read_line(bob), "raw: ␛[2Jhi\n".encode())
            bob.stdin.close()
            self.assertEqual(bob.wait(PATIENCE), 0)
            self.assertEqual(raw.until(b"left the chat!"), b"bob left the chat!")

    def test_it_talks_to_one_that_is_far_away(self):
        with OriginalServer(delay=1.5) as server:
            raw = self.raw(server.port, b"raw")
            bob = self.client(server.port, "bob")
            self.assertEqual(self.read_line(bob), b"bob joined the chat!\n")
            bob.stdin.write(b"hello\n")
            bob.stdin.flush()
            # The newline is what it says to servers that know lines.
            self.assertEqual(raw.until(b"hello"), b"bob joined the chat!\nbob: hello")
            raw.say(b"raw: hi")
            self.assertEqual(self.read_line(bob), b"raw: hi\n")
            carol = self.client(server.port, "carol")
            raw.until(b"carol joined the chat!")
            raw.say(b"raw: hello")
            # The server may tell it of itself first, or of what was said.
            self.assertIn(self.read_line(carol), (b"carol joined the chat!raw: hello\n",
                                                  b"raw: hellocarol joined the chat!\n"))

    def test_a_taken_name_is_asked_for_again(self):
        with Server("chat_server", "--port", "0", "--http-port", "0") as server:
            self.line(server.port, b"bob")
            bob = self.client(server.port, "bob")
            self.assertEqual(self.read_line(bob), b"-- bob is taken\n")
            self.assertEqual(self.read_line(bob), b"-- what is your name?\n")
            bob.stdin.write(b"bobby\n")
            bob.stdin.flush()
            self.assertEqual(self.read_line(bob), b"bobby joined the chat!\n")

    def test_it_ends_when_the_server_does_and_says_when_there_is_none(self):
        with Server("chat_server", "--port", "0", "--http-port", "0") as server:
            alice = self.client(server.port, "alice")
            self.assertEqual(self.read_line(alice), b"alice joined the chat!\n")
            server.signal()
            self.assertEqual(self.read_line(alice), b"-- the server is shutting down\n")
            self.assertEqual(self.read_line(alice), b"-- the server has closed the connection\n")
            self.assertEqual(alice.wait(PATIENCE), 0)
        self.refused(programs.run("chat_client", "127.0.0.1", "1", "--nick", "x"),
                     "chat_client: connect", "Connection refused")

    def test_on_a_terminal_a_message_does_not_garble_the_line_being_typed(self):
        with Server("chat_server", "--port", "0", "--http-port", "0") as server:
            process, terminal = pty.fork()
            if process == 0:
                os.environ["TERM"] = "xterm"
                os.environ["LC_ALL"] = "C.UTF-8"
                os.execv(programs.program("chat_client"),
                         ["chat_client", "127.0.0.1", str(server.port), "--nick", "alice"])
            self.addCleanup(os.close, terminal)
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            screen = Screen(terminal)
            screen.wait_for("alice joined the chat!")
            bob = self.line(server.port, b"bob")
            screen.wait_for("bob joined the chat!")
            os.write(terminal, "half a lin".encode())
            screen.wait_for("> half a lin")
            bob.say("grüße\n".encode())
            screen.wait_for("bob: grüße")
            # The message stands above, and the line is whole below it.
            self.assertEqual(screen.rows()[-2:], ["bob: grüße", "> half a lin"])
            os.write(terminal, "e ü\n".encode())
            bob.until("alice: half a line ü\n".encode())
            os.write(terminal, b"\x1b[A")  # the line before comes back
            screen.wait_for("> half a line ü", last=True)
            long = "y" * 100  # longer than the screen is wide
            os.write(terminal, b"\x15" + long.encode())
            screen.wait_for(long[:78])
            bob.say(b"above\n")
            screen.wait_for("bob: above")
            screen.settle()
            text = "".join(screen.rows())
            self.assertEqual(text.count("y"), 100, screen.rows())
            os.write(terminal, b"\x15/quit\n")
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), 0)


class Screen:
    """As much of a terminal as shows what is where: printable text, CR, LF, BS, cursor moves, ED,
    EL."""

    def __init__(self, terminal, columns=80):
        self.terminal, self.columns = terminal, columns
        self.lines, self.row, self.column = [[]], 0, 0
        self.bytes = b""

    def put(self, text):
        while text:
            found = re.match(r"\x1b\[([\d;?]*)([A-Za-z])|\x1b[=>]|\x1b\([A-Z0-9]", text)
            if found:
                text = text[found.end():]
                if found[2]:
                    self.control(found[1], found[2])
                continue
            character, text = text[0], text[1:]
            if character == "\r":
                self.column = 0
            elif character == "\n":
                self.down()
            elif character == "\b":
                self.column = max(0, self.column - 1)
            elif character.isprintable():
                if self.column == self.columns:
                    self.column = 0
                    self.down()
                line = self.lines[self.row]
                line.extend(" " * (self.column + 1 - len(line)))
                line[self.column] = character
                self.column += 1

    def down(self):
        self.row += 1
        while len(self.lines) <= self.row:
            self.lines.append([])

    def control(self, argument, letter):
        number = int(argument) if argument.isdigit() else 0
        if letter == "A":
            self.row = max(0, self.row - max(1, number))
        elif letter == "B":
            for _ in range(max(1, number)):
                self.down()
        elif letter == "C":
            self.column = min(self.columns - 1, self.column + max(1, number))
        elif letter == "D":
            self.column = max(0, self.column - max(1, number))
        elif letter == "K":
            del self.lines[self.row][self.column:]
        elif letter == "J":
            del self.lines[self.row][self.column:]
            del self.lines[self.row + 1:]
        elif letter == "P":
            del self.lines[self.row][self.column:self.column + max(1, number)]
        elif letter == "@":
            self.lines[self.row][self.column:self.column] = [" "] * max(1, number)

    def read(self, patience):
        ready, _, _ = select.select([self.terminal], [], [], patience)
        if not ready:
            return False
        self.bytes += os.read(self.terminal, 65536)
        text = self.bytes.decode(errors="ignore")
        # What is cut short is read again with the rest of it.
        whole = re.sub(r"\x1b(\[[\d;?]*)?$", "", text)
        self.bytes = text[len(whole):].encode()
        self.put(whole)
        return True

    def settle(self):
        while self.read(0.3):
            pass

    def rows(self):
        rows = ["".join(line).rstrip() for line in self.lines]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def wait_for(self, text, last=False):
        end = time.monotonic() + PATIENCE
        while not any(text in row for row in (self.rows()[-1:] if last else self.rows())):
            if not self.read(end - time.monotonic()):
                raise AssertionError(f"not on the screen: {text!r}: {self.rows()}")
        self.settle()


if __name__ == "__main__":
    programs.FOLDER = sys.argv.pop(1)
    unittest.main(verbosity=2)
