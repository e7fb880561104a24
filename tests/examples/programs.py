"""What the servers and clients in examples/ promise on their command lines, tried as a user would.

programs.py FOLDER [unittest arguments]: FOLDER holds the programs. Loopback and free ports only.
"""

import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

FOLDER = ""
PATIENCE = 30  # seconds after which something that should have happened has not


def program(name):
    return os.path.join(FOLDER, name)


class Server:
    """A program that says "ready: KIND ADDRESS:PORT"; killed at the end of the with block."""

    def __init__(self, name, *arguments, environment=None):
        self.process = subprocess.Popen(
            [program(name), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        # One read: the ready lines are written at once; what a program says after them may be in it.
        said = os.read(self.process.stdout.fileno(), 65536).decode()
        if not said.startswith("ready: "):
            raise AssertionError(f"{name}: {said}{self.process.communicate()[1].decode()}")
        self.ready = "".join(line for line in said.splitlines(True) if line.startswith("ready: "))
        self.ports = [int(line.rsplit(":", 1)[1]) for line in self.ready.splitlines()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def port(self):
        return self.ports[0]

    def connect(self, family=socket.AF_INET):
        peer = socket.socket(family, socket.SOCK_STREAM)
        peer.settimeout(PATIENCE)
        peer.connect(("127.0.0.1" if family == socket.AF_INET else "::1", self.port))
        return peer

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(PATIENCE)


def run(name, *arguments, **more):
    return subprocess.run([program(name), *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE, **more)


def receive(peer, size):
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class Programs(unittest.TestCase):
    def refused(self, outcome, *parts):
        self.assertEqual(outcome.returncode, 1, outcome)
        self.assertEqual(outcome.stderr.count("\n"), 1, outcome)
        for part in parts:
            self.assertIn(part, outcome.stderr)


class EchoServer(Programs):
    def test_localhost_is_both_families_with_one_port_told_in_one_write(self):
        with Server("echo_server", "--port", "0") as server:
            lines = server.ready.splitlines()
            self.assertEqual(len(set(server.ports)), 1)
            if has_ipv6():
                self.assertEqual(lines[0], f"ready: tcp [::1]:{server.port}")
                with server.connect(socket.AF_INET6) as peer:
                    peer.sendall(b"six")
                    self.assertEqual(receive(peer, 3), b"six")
            self.assertEqual(lines[-1], f"ready: tcp 127.0.0.1:{server.port}")
            with server.connect() as peer:
                peer.sendall(b"four")
                self.assertEqual(receive(peer, 4), b"four")

    def test_a_prefix_stands_before_each_message(self):
        with Server("echo_server", "--port", "0", "--prefix", "Echo: ") as server:
            with server.connect() as peer:
                peer.sendall(b"hello")
                self.assertEqual(receive(peer, 11), b"Echo: hello")

    def test_several_threads_serve_one_port(self):
        with Server("echo_server", "--port", "0", "--threads", "2") as server:
            self.assertEqual(len(server.ready.splitlines()), 2 if has_ipv6() else 1)
            peers = [server.connect() for _ in range(40)]
            for number, peer in enumerate(peers):
                peer.sendall(b"%02d" % number)
            for number, peer in enumerate(peers):
                self.assertEqual(receive(peer, 2), b"%02d" % number)
                peer.close()
            server.signal()
            self.assertEqual(server.wait(), 0)

    def test_connections_beyond_the_limit_wait(self):
        with Server("echo_server", "--port", "0", "--max-connections", "1") as server:
            first = server.connect()
            first.sendall(b"1")
            self.assertEqual(receive(first, 1), b"1")
            second = server.connect()
            second.sendall(b"2")
            second.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                second.recv(1)
            first.close()
            second.settimeout(PATIENCE)
            self.assertEqual(receive(second, 1), b"2")
            second.close()

    def test_a_silent_peer_is_let_go(self):
        with Server("echo_server", "--port", "0", "--idle-timeout", "200ms") as server:
            with server.connect() as peer:
                self.assertEqual(peer.recv(1), b"")

    def test_a_signal_ends_idle_connections_at_once_and_the_program_with_0(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with Server("echo_server", "--port", "0", "--drain-timeout", "1h") as server:
                with server.connect() as peer:
                    peer.sendall(b"x")
                    self.assertEqual(receive(peer, 1), b"x")
                    server.signal(number)
                    self.assertEqual(peer.recv(1), b"")
                    self.assertEqual(server.wait(), 0)

    def stuck(self, server):
        """A peer that does not take its answer."""
        peer = server.connect()
        peer.setblocking(False)
        quiet = 0
        while quiet < 3:  # until the server's send and our own buffer are full
            try:
                peer.send(b"x" * 65536)
                quiet = 0
            except BlockingIOError:
                time.sleep(0.05)
                quiet += 1
        return peer

    def test_the_drain_has_an_end(self):
        with Server("echo_server", "--port", "0", "--drain-timeout", "300ms") as server:
            with self.stuck(server):
                begun = time.monotonic()
                server.signal()
                self.assertEqual(server.wait(), 0)
                self.assertGreaterEqual(time.monotonic() - begun, 0.25)

    def test_a_second_signal_ends_it_at_once(self):
        with Server("echo_server", "--port", "0", "--drain-timeout", "1h") as server:
            with self.stuck(server):
                server.signal(signal.SIGINT)
                with self.assertRaises(subprocess.TimeoutExpired):
                    server.process.wait(0.3)
                server.signal(signal.SIGINT)
                self.assertEqual(server.wait(), 0)

    def test_a_port_that_is_taken_is_refused_in_one_line(self):
        for name in ("echo_server", "udp_echo_server"):
            with Server(name, "--port", "0") as server:
                for threads in ("1", "2"):
                    outcome = run(name, "--port", str(server.port), "--threads", threads)
                    self.refused(outcome, f":{server.port}: Address already in use")

    def test_what_cannot_be_is_refused_in_one_line(self):
        for name in ("echo_server", "udp_echo_server"):
            self.refused(run(name, "--host", "192.0.2.1"), "192.0.2.1", "Cannot assign")
            self.refused(run(name, "--host", "no.such.invalid"), "no.such.invalid", "not found")
            for port in ("65536", "-1", "", "80x"):
                self.refused(run(name, "--port", port), "--port", f"'{port}'")
            self.refused(run(name, "--host", ""), "--host", "0.0.0.0")
            self.refused(run(name, "--kernel", "none"), "none")
            self.refused(run(name, "--nonsense"), "nonsense")
        self.refused(run("echo_server", "--idle-timeout", "5x"), "5x")
        self.refused(run("echo_server", "--threads", "0"), "threads")
        for count in ("-5", "", "many"):
            self.refused(run("echo_server", "--max-connections", count), f"'{count}'")

    def test_a_privileged_port_is_refused_in_one_line(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as limit:
            if os.geteuid() != 0 or int(limit.read()) <= 80:
                self.skipTest("needs root and privileged ports")
        try:
            outcome = run("echo_server", "--port", "80", user=65534)
        except PermissionError:
            self.skipTest("nobody may not start programs of this folder")
        self.refused(outcome, ":80: Permission denied")

    def test_durations_are_ms_s_m_and_h(self):
        for text in ("500ms", "2s", "5m", "1h"):
            with Server("echo_server", "--port", "0", "--idle-timeout", text) as server:
                server.signal()
                self.assertEqual(server.wait(), 0)

    def test_sigusr1_shows_where_every_task_waits(self):
        with Server("echo_server", "--port", "0") as server, server.connect() as peer:
            peer.sendall(b"x")
            self.assertEqual(receive(peer, 1), b"x")
            server.signal(signal.SIGUSR1)
            own = f"127.0.0.1:{peer.getsockname()[1]}"
            tree = ""
            end = time.monotonic() + PATIENCE
            while own not in tree and time.monotonic() < end:
                tree += os.read(server.process.stderr.fileno(), 65536).decode()
            self.assertRegex(tree, r"echo\.h:\d+.*read " + re.escape(own))

    def test_spent_descriptors_are_survived(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

        process = subprocess.Popen(
            [program("echo_server"), "--port", "0", "--host", "127.0.0.1",
             "--max-connections", "1000"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=few)
        try:
            port = int(process.stdout.readline().decode().rsplit(":", 1)[1])
            peers = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(60)]
            for peer in peers[:10]:
                peer.sendall(b"x")
                self.assertEqual(receive(peer, 1), b"x")
            for peer in peers[:50]:
                peer.close()
            for peer in peers[50:]:
                peer.sendall(b"y")
                self.assertEqual(receive(peer, 1), b"y")
                peer.close()
            process.terminate()
            self.assertEqual(process.wait(PATIENCE), 0)
        finally:
            process.kill()
            process.communicate()

    def test_many_bytes_of_any_value_come_back(self):
        data = os.urandom(4 << 20)
        with Server("echo_server", "--port", "0") as server, server.connect() as peer:
            writer = threading.Thread(target=lambda: (peer.sendall(data),
                                                      peer.shutdown(socket.SHUT_WR)))
            writer.start()
            self.assertEqual(receive(peer, len(data) + 1), data)
            writer.join()


class UdpEchoServer(Programs):
    def ask(self, server, message, size=65535):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            asking.sendto(message, ("127.0.0.1", server.port))
            return asking.recvfrom(size)[0]

    def test_datagrams_of_every_size_come_back(self):
        with Server("udp_echo_server", "--port", "0") as server:
            for size in (0, 1, 1472, 9000, 65507):
                message = os.urandom(size)
                self.assertEqual(self.ask(server, message), message)
            server.signal()
            self.assertEqual(server.wait(), 0)

    def test_an_answer_that_does_not_fit_is_dropped_and_the_rest_goes_on(self):
        with Server("udp_echo_server", "--port", "0", "--prefix", "Echo: ") as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.sendto(b"x" * 65507, ("127.0.0.1", server.port))
            self.assertEqual(self.ask(server, b"hello"), b"Echo: hello")

    def test_what_has_arrived_is_answered_before_the_end(self):
        with Server("udp_echo_server", "--port", "0") as server, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE)
            server.signal(signal.SIGSTOP)
            for number in range(50):
                peer.sendto(str(number).encode(), ("127.0.0.1", server.port))
            server.signal(signal.SIGTERM)
            server.signal(signal.SIGCONT)
            answers = [peer.recv(100) for _ in range(50)]
            self.assertEqual(answers, [str(number).encode() for number in range(50)])
            self.assertEqual(server.wait(), 0)

    def test_several_threads_answer_on_one_port(self):
        with Server("udp_echo_server", "--port", "0", "--threads", "2") as server:
            for number in range(40):
                self.assertEqual(self.ask(server, b"%d" % number), b"%d" % number)


class SocketActivation(Programs):
    """Sockets that another user has bound, as systemd does for a unit with User=."""

    def setUp(self):
        # A copy of the program lies here, because that user may not look into root's folders.
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        os.chmod(self.folder, 0o755)

    def started(self, name, handed_over, port=0, **more):
        number = handed_over.fileno()
        copy = shutil.copy(program(name), self.folder)
        command = (f'exec 3<&{number}; LISTEN_FDS=1 LISTEN_PID=$$ '
                   f'exec "{copy}" --port {port} --threads 2')
        stranger = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen(["sh", "-c", command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, pass_fds=(number,), **stranger, **more)

    def served(self, name, handed_over, ask):
        port = handed_over.getsockname()[1]
        process = self.started(name, handed_over)
        try:
            said = os.read(process.stdout.fileno(), 4096).decode()
            self.assertIn(f"127.0.0.1:{port}", said)
            for number in range(20):
                self.assertEqual(ask(port, b"%d" % number), b"%d" % number)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(PATIENCE), 0)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stdout.close()

    def test_a_socket_that_the_options_do_not_mean_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as other, socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
            free.close()
            process = self.started("echo_server", other, port, stderr=subprocess.PIPE)
            self.assertIn(f"127.0.0.1:{port}\n", os.read(process.stdout.fileno(), 4096).decode())
            process.send_signal(signal.SIGTERM)
            told = process.communicate(timeout=PATIENCE)[1].decode()
            self.assertIn(f"not used: unknown, 127.0.0.1:{other.getsockname()[1]}\n", told)

    def test_several_threads_serve_one_listener(self):
        def ask(port, message):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
                peer.sendall(message)
                return receive(peer, len(message))

        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.served("echo_server", listener, ask)

    def test_several_threads_answer_on_one_udp_socket(self):
        def ask(port, message):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.settimeout(PATIENCE)
                asking.sendto(message, ("127.0.0.1", port))
                return asking.recvfrom(100)[0]

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.0.0.1", 0))
            self.served("udp_echo_server", bound, ask)


class Clients(Programs):
    def test_no_server_names_endpoint_and_reason(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
            for name in ("echo_client", "udp_echo_client"):
                outcome = run(name, "127.0.0.1", port, "hello")
                self.refused(outcome, f"127.0.0.1:{port}", "Connection refused")

    def test_a_mute_server_is_given_up_with_its_endpoint(self):
        with socket.create_server(("127.0.0.1", 0)) as mute:
            port = str(mute.getsockname()[1])
            outcome = run("echo_client", "127.0.0.1", port, "hello", "--timeout", "200ms")
            self.refused(outcome, f"127.0.0.1:{port}", "timed out")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
            mute.bind(("127.0.0.1", 0))
            port = str(mute.getsockname()[1])
            outcome = run("udp_echo_client", "127.0.0.1", port, "hello", "--timeout", "200ms")
            self.refused(outcome, f"127.0.0.1:{port}", "timed out")

    def test_an_answer_that_cannot_be_printed_is_an_error(self):
        for kind in ("echo", "udp_echo"):
            with Server(f"{kind}_server", "--port", "0") as server:
                command = [program(f"{kind}_client"), "127.0.0.1", str(server.port), "hello"]
                with open("/dev/full", "w", encoding="ascii") as full:
                    outcome = subprocess.run(command, stdout=full, stderr=subprocess.PIPE,
                                             text=True, timeout=PATIENCE, check=False)
                self.assertEqual(outcome.returncode, 1)
                self.assertIn("No space left on device", outcome.stderr)
                reading, writing = os.pipe()
                os.close(reading)
                outcome = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE,
                                         text=True, timeout=PATIENCE, check=False)
                os.close(writing)
                self.assertEqual(outcome.returncode, 1)
                self.assertIn("Broken pipe", outcome.stderr)

    def test_a_name_that_does_not_exist_is_told_from_everything_else(self):
        for name in ("echo_client", "udp_echo_client"):
            self.refused(run(name, "no.such.invalid", "1", "x"), "no.such.invalid", "not found")

    def test_names_and_both_families_work(self):
        for kind in ("echo", "udp_echo"):
            with Server(f"{kind}_server", "--port", "0") as server:
                for host in ("localhost", "127.0.0.1") + (("::1",) if has_ipv6() else ()):
                    outcome = run(f"{kind}_client", host, str(server.port), "hello, rill")
                    self.assertEqual((outcome.returncode, outcome.stdout), (0, "hello, rill\n"))

    def test_a_server_that_is_killed_half_way_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as dying:
            def die():
                peer = dying.accept()[0]
                peer.recv(1)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peer.close()

            thread = threading.Thread(target=die)
            thread.start()
            outcome = run("echo_client", "127.0.0.1", str(dying.getsockname()[1]), "hello")
            thread.join()
            self.refused(outcome, "Connection reset by peer")


class PythonPrograms(Programs):
    """The same services written in Python with blocking sockets, one thread: both ways round."""

    def test_our_client_speaks_with_a_python_server(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            def serve():
                peer = server.accept()[0]
                data = peer.recv(1024)
                peer.sendall(f"Echo: {data.decode('utf-8')}".encode("utf-8"))
                peer.close()

            thread = threading.Thread(target=serve)
            thread.start()
            outcome = run("echo_client", "127.0.0.1", str(server.getsockname()[1]), "Hello Server!")
            thread.join()
            self.assertEqual((outcome.returncode, outcome.stdout), (0, "Echo: Hello Server!\n"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))

            def answer():
                message, peer = server.recvfrom(1024)
                server.sendto(b"Echo: " + message, peer)

            thread = threading.Thread(target=answer)
            thread.start()
            outcome = run("udp_echo_client", "127.0.0.1", str(server.getsockname()[1]), "Hello")
            thread.join()
            self.assertEqual((outcome.returncode, outcome.stdout), (0, "Echo: Hello\n"))

    def test_a_python_client_speaks_with_our_server(self):
        with Server("echo_server", "--port", "0", "--prefix", "Echo: ") as server:
            client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            client.connect(("localhost", server.port))
            client.send("Hello Server!".encode("utf-8"))
            self.assertEqual(client.recv(1024).decode("utf-8"), "Echo: Hello Server!")
            client.close()


class Teaching(Programs):
    SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples")

    def test_the_programs_print_what_their_first_lines_say(self):
        for name in ("01_sleeping_tasks", "02_nursery", "03_timeout", "06_simulated_partition",
                     "07_coroutine_by_hand", "08_lazy_tasks", "10_cancellation", "11_traps",
                     "12_own_protocol"):
            with open(os.path.join(self.SOURCES, name + ".cpp"), encoding="utf-8") as source:
                head = [line[2:].rstrip() for line in source if line.startswith("//")]
            told = [re.sub(r" {3,}\(.*", "", line[5:]) for line in head if line[:5] == " " * 5]
            self.assertGreater(len(told), 2, name)
            expected = "\n".join(told) + "\n"
            pattern = re.sub(r"\\?\d+(\\\.\d+)?|PORT", r"[0-9.]+", re.escape(expected))
            outcome = run(name)
            self.assertEqual(outcome.returncode, 0, outcome)
            self.assertRegex(outcome.stdout, "^" + pattern + "$")

    def test_the_program_of_the_readme_echoes(self):
        places = [(socket.AF_INET, "127.0.0.1")] + [(socket.AF_INET6, "::1")] * has_ipv6()
        for family, host in places:
            with socket.socket(family) as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    free.bind((host, 8888))
                except OSError as error:
                    self.skipTest(f"port 8888: {error.strerror}")
        with subprocess.Popen([program("00_echo")], stdin=subprocess.DEVNULL) as server:
            try:
                end = time.monotonic() + PATIENCE
                for family, host in places:
                    with socket.socket(family) as peer:
                        while peer.connect_ex((host, 8888)) != 0 and time.monotonic() < end:
                            time.sleep(0.01)
                        peer.sendall(b"hello")
                        self.assertEqual(receive(peer, 5), b"hello")
                server.send_signal(signal.SIGINT)
                self.assertEqual(server.wait(PATIENCE), 0)
            finally:
                server.kill()

    def test_a_graceful_shutdown_says_goodbye(self):
        with Server("04_graceful_shutdown", "0") as server, server.connect() as peer:
            self.assertTrue(peer.recv(1))
            server.signal(signal.SIGINT)
            self.assertIn(b"goodbye", receive(peer, 1 << 20))
            self.assertEqual(server.wait(), 0)

    def test_the_proxy_passes_everything_on_both_ways(self):
        data = os.urandom(1 << 20)
        with Server("echo_server", "--port", "0") as target:
            with Server("05_tcp_proxy", "localhost", str(target.port)) as proxy:
                with proxy.connect() as peer:
                    writer = threading.Thread(target=lambda: (peer.sendall(data),
                                                              peer.shutdown(socket.SHUT_WR)))
                    writer.start()
                    self.assertEqual(receive(peer, len(data) + 1), data)
                    writer.join()
                proxy.signal(signal.SIGINT)
                self.assertEqual(proxy.wait(), 0)

    def test_the_proxy_gives_up_a_connection_on_which_nothing_passes(self):
        with Server("echo_server", "--port", "0") as target:
            with Server("05_tcp_proxy", "localhost", str(target.port),
                        "--idle-timeout", "1s") as proxy, proxy.connect() as peer:
                for _ in range(4):
                    time.sleep(0.3)
                    peer.sendall(b"x")
                    self.assertEqual(peer.recv(1), b"x")
                self.assertRaises(ConnectionResetError, peer.recv, 1)

    def test_the_proxy_resets_a_client_whose_server_was_lost(self):
        with socket.create_server(("127.0.0.1", 0)) as target:
            port = str(target.getsockname()[1])
            with Server("05_tcp_proxy", "localhost", port) as proxy, proxy.connect() as peer:
                server, _ = target.accept()
                server.sendall(b"a part")
                self.assertEqual(receive(peer, 6), b"a part")
                server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                server.close()
                self.assertRaises(ConnectionResetError, peer.recv, 1)


class Demo(Programs):
    def test_it_serves_http_tcp_udp_and_chat_and_ends_with_0(self):
        with Server("demo", "--http-port", "0", "--tcp-port", "0", "--udp-port", "0",
                    "--chat-port", "0") as server:
            self.assertRegex(server.ready, r"ready: http .*\n(.*\n)*ready: tcp .*\n(.*\n)*ready: udp "
                                           r".*\n(.*\n)*ready: chat ")
            server.signal(signal.SIGINT)
            self.assertEqual(server.wait(), 0)


if __name__ == "__main__":
    FOLDER = sys.argv.pop(1)
    unittest.main(verbosity=2)
