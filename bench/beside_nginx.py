#!/usr/bin/env python3
"""Measures examples/http_server beside nginx: TLS, large files, idle connections. See bench/results/.

The load is ab, h2load and openssl s_time, not rill's own. Both servers on one core, one worker,
interleaved round by round; only processes that this script started are ended.
"""

import argparse
import os
import pathlib
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

import compare

SERVERS = {"rill": ["http_server", "--host", "127.0.0.1", "--port", "0", "--tls-port", "0",
                    "--idle-timeout", "1h"],
           "nginx": [sys.executable, str(compare.HERE / "http/nginx_http.py")]}
MIB = 2**20
MEMORY = "Resident memory of"  # how the second part of the table begins
FILES = {"1M": MIB, "64M": 64 * MIB}
NEEDED = {"nginx": "nginx-light", "ab": "apache2-utils", "h2load": "nghttp2-client",
          "openssl": "openssl"}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hold", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--bin-dir", default="build/release/bin", type=pathlib.Path)
    parser.add_argument("--out", default="bench/results", type=pathlib.Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--duration", default=3, type=int, help="seconds of each run, about")
    parser.add_argument("--connections", default=10000, type=int, help="idle ones")
    parser.add_argument("--server-core", default=0, type=int)
    parser.add_argument("--load-core", default=1, type=int)
    parser.add_argument("--part", default="all", choices=["all", "speed", "memory"],
                        help="what to measure; the other part of the table stays as it is")
    parser.add_argument("--smoke", action="store_true", help="one short round")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.duration, options.connections = 1, 1, 200
    return options


def make_certificate(folder, kind):
    """A self-signed certificate of kind "rsa:2048" or "ec"."""
    key, certificate = folder / f"{kind[:2]}.key", folder / f"{kind[:2]}.crt"
    how = ["-newkey", kind] + (["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else [])
    subprocess.run(["openssl", "req", "-x509", "-nodes", *how, "-keyout", key, "-out", certificate,
                    "-subj", "/CN=localhost", "-days", "2"], check=True, capture_output=True)
    return ["--tls-cert", str(certificate), "--tls-key", str(key)]


class Server(compare.Child):
    def __init__(self, name, certificate, folder, options):
        command = SERVERS[name] + certificate + ["--root", str(folder)]
        if name == "rill":
            command[0] = str(options.bin_dir / command[0])
        super().__init__(command, options.server_core)
        self.port = int(self.line(r"ready: \w+ \S+:(\d+)")[1])
        self.tls_port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def seconds(self):
        return sum(compare.process_seconds(self.process.pid))


def loaded(command, options, count=1):
    """The output of `count` loads at once, pinned."""
    children = [subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {options.load_core})) for _ in range(count)]
    outputs = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise RuntimeError(f"{command[0]}: {outputs[0][-300:]}")
    return outputs


def ab_handshakes(server, options):
    """Every request on a connection of its own, without resumption."""
    [output] = loaded(["ab", "-q", "-t", str(options.duration), "-n", "1000000", "-c", "32",
                       f"https://127.0.0.1:{server.tls_port}/plaintext"], options)
    # Over TLS ab takes the first answer for empty, and counts all others as "Length".
    if re.search(r"Non-2xx responses:|(Connect|Receive|Exceptions): [1-9]", output):
        raise RuntimeError(output[-800:])
    return (int(re.search(r"Complete requests:\s+(\d+)", output)[1]),
            float(re.search(r"Time taken for tests:\s+([\d.]+)", output)[1]))


def resumed_handshakes(server, options):
    """One connection after the other by each of eight clients, all but the first resumed."""
    outputs = loaded(["openssl", "s_time", "-reuse", "-time", str(options.duration), "-connect",
                      f"127.0.0.1:{server.tls_port}", "-tls1_2"], options, 8)
    return sum(int(re.search(r"(\d+) connections in (\d+) real", each)[1]) for each in outputs), \
        options.duration


def h2load(path, is_tls, connections):
    def load(server, options):
        base = (f"https://127.0.0.1:{server.tls_port}" if is_tls
                else f"http://127.0.0.1:{server.port}")
        [output] = loaded(["h2load", "--h1", "-t", "1", "-c", str(connections), "-D",
                           str(options.duration), base + path], options)
        done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
        if not done or int(done[2]) or int(done[3]):
            raise RuntimeError(output[-800:])
        return int(done[1]), options.duration
    return load


# Title -> certificate, load, unit, how many of the unit one request is.
SCENARIOS = {
    "TLS handshakes, RSA 2048": ("rsa:2048", ab_handshakes, "connections/s", 1),
    "TLS handshakes, P-256": ("ec", ab_handshakes, "connections/s", 1),
    "TLS 1.2 handshakes, resumed": ("ec", resumed_handshakes, "connections/s", 1),
    "TLS, /plaintext, 64 connections": ("ec", h2load("/plaintext", True, 64), "requests/s", 1),
    "TLS, file of 1 MiB, 16 connections": ("ec", h2load("/files/1M", True, 16), "MiB/s", 1),
    "file of 1 MiB, 16 connections": ("ec", h2load("/files/1M", False, 16), "MiB/s", 1),
    "file of 64 MiB, 4 connections": ("ec", h2load("/files/64M", False, 4), "MiB/s", 64),
}


def hold(port, is_tls, count):
    """Connections that have asked once and then keep still. Says so, and waits to be ended."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    for _ in range(count):
        each = socket.create_connection(("127.0.0.1", port))
        if is_tls:
            each = context.wrap_socket(each)
        each.sendall(b"GET /plaintext HTTP/1.1\r\nHost: it\r\n\r\n")
        answer = b""
        while not answer.endswith(b"Hello, World!"):
            piece = each.recv(4096)
            if not piece:
                sys.exit(f"closed after {len(held)} connections, {answer!r}")
            answer += piece
        held.append(each)
    print(f"held: {len(held)}", flush=True)
    signal.pause()


def idle_bytes(server, is_tls, options):
    """Resident bytes before, and with idle connections."""
    before = compare.resident_bytes(server.process.pid)
    port = server.tls_port if is_tls else server.port
    with compare.Child([sys.executable, __file__, "--hold", str(port), str(int(is_tls)),
                        str(options.connections)], options.load_core) as holder:
        holder.line(r"held: (\d+)", 300)
        time.sleep(1)
        return before, compare.resident_bytes(server.process.pid)


def measure_speed(certificates, folder, options):
    lines = ["| | unit | rill | nginx | ratio | rill, min–max | nginx, min–max "
             "| server CPU us, rill | nginx |", "|---|---|---|---|---|---|---|---|---|"]
    for title, (kind, load, unit, weight) in SCENARIOS.items():
        speeds, costs = {name: [] for name in SERVERS}, {name: [] for name in SERVERS}
        for _ in range(options.rounds):
            for name in SERVERS:
                with Server(name, certificates[kind], folder, options) as server:
                    count, took = load(server, options)
                    speeds[name].append(count * weight / took)
                    costs[name].append(server.seconds() * 1e6 / max(1, count * weight))
                    print(f"{title}: {name} {speeds[name][-1]:,.0f} {unit}", flush=True)
        middle = {name: statistics.median(each) for name, each in speeds.items()}
        # A second may be too short for a single one on a busy machine.
        ratio = f"{middle['rill'] / middle['nginx']:.2f}" if middle["nginx"] else "-"
        lines.append(
            f"| {title} | {unit} | {middle['rill']:,.0f} | {middle['nginx']:,.0f} "
            f"| {ratio} | "
            + " | ".join(f"{min(each):,.0f}–{max(each):,.0f}" for each in speeds.values()) + " | "
            + " | ".join(f"{statistics.median(each):,.1f}" for each in costs.values()) + " |")
    return lines


def measure_memory(certificates, folder, options):
    lines = ["| | server | before, MiB | with them, MiB | bytes for each |", "|---|---|---|---|---|"]
    for title, is_tls in (("plain", False), ("TLS 1.3", True)):
        for name in SERVERS:
            with Server(name, certificates["ec"], folder, options) as server:
                before, after = idle_bytes(server, is_tls, options)
            lines.append(f"| {title} | {name} | {before / MIB:.1f} | {after / MIB:.1f} "
                         f"| {(after - before) / options.connections:,.0f} |")
            print(lines[-1], flush=True)
    return lines


def main():
    options = parse_arguments()
    if options.hold:
        hold(int(options.hold[0]), options.hold[1] == "1", int(options.hold[2]))
    missing = [package for program, package in NEEDED.items() if not compare.shutil.which(program)]
    if missing:
        sys.exit("error: install " + " ".join(missing))
    if not (options.bin_dir / "http_server").exists():
        sys.exit(f"error: no http_server in {options.bin_dir}; build first")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    table = options.out / "beside_nginx.md"
    old = re.split(f"(?=^{MEMORY})", table.read_text(), flags=re.M) if table.exists() else ["", ""]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for file, size in FILES.items():
            (folder / file).write_bytes(os.urandom(MIB) * (size // MIB))
        certificates = {kind: make_certificate(folder, kind) for kind in ("rsa:2048", "ec")}
        speed = memory = None
        if options.part != "memory":
            speed = measure_speed(certificates, folder, options)
        if options.part != "speed":
            memory = measure_memory(certificates, folder, options)
    options.servers, options.known = ["rill"], {"rill": ["http_server"]}
    options.suite = "http"
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip()
    first, second = old[0], old[-1]
    if speed:
        first = "\n".join(
            ["# http_server beside nginx", ""]
            + compare.circumstances(["rill"], options)[:-1]
            + [f"* {version}, one worker; {ssl.OPENSSL_VERSION} for both", "",
               f"{options.rounds} interleaved rounds of {options.duration} s, medians. "
               "Handshakes by ab, those resumed by openssl s_time, all else by h2load --h1. "
               "The processor time is for one of the unit.", ""]
            + speed + ["", ""])
    if memory:
        second = "\n".join(
            [f"{MEMORY} {options.connections:,} idle connections that have had one answer, "
             f"{time.strftime('%Y-%m-%d')}. "
             "(nginx sets up its table of connections at its start: the sum is what compares.)", ""]
            + memory) + "\n"
    text = first + second
    print(text)
    compare.write(table, text)


if __name__ == "__main__":
    main()
