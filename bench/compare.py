#!/usr/bin/env python3
"""Measures the servers of this bench, of echo or HTTP, against each other: see bench/results/.

Servers are interleaved round by round, so that a slow minute of the machine hits all of them. Each
run starts a fresh server pinned to one core and the load pinned to another. Only processes that
this script started are ended. Python's standard library only; gnuplot draws if it is installed.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import platform
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import time

# Of each suite: name -> (program, arguments, extra ones for messages of 16 KiB and more). The raw
# ring is tuned for each column because it stands for the limit; nothing else is.
SUITES = {
    "echo": {
        "rill": ("rill_echo", ["--kernel", "uring"], []),
        "rill_epoll": ("rill_echo", ["--kernel", "epoll"], []),
        "raw_uring": ("raw_uring_echo", [], ["--large"]),
        "raw_epoll": ("raw_epoll_echo", [], []),
        "thread": ("thread_echo", [], []),
        "asio": ("asio_echo", [], []),
        "libuv": ("libuv_echo", [], []),
    },
    "http": {
        "rill": ("rill_http", ["--kernel", "uring"], []),
        "rill_epoll": ("rill_http", ["--kernel", "epoll"], []),
        "raw_uring": ("raw_uring_http", [], []),
        "asio_minimal": ("asio_http", [], []),
        "thread_minimal": ("thread_http", [], []),
        "beast": ("beast_http", [], []),
        "nginx": ("nginx_http.py", [], []),
        "go": ("go_http", [], []),
        "node": ("node_http.js", [], []),
    },
}
NEEDED = {"nginx_http.py": "nginx", "node_http.js": "node"}  # what a script cannot do without
RAW = ("raw_uring", "raw_epoll")
# Connections, and the bytes of a message or the requests in flight on each connection; spin: the
# load never sleeps.
SCENARIOS = {
    "echo": ["1x64", "50x64", "1000x64", "8000x64", "50x4096", "1000x4096", "50x65536",
             "50x65536spin", "1000x65536", "1000x65536spin"],
    "http": ["64x1", "1000x1", "8000x1", "64x16", "1000x16", "8000x16"],
}
TITLES = {"echo": "Echo: messages a second", "http": "HTTP: requests a second"}
NOTES = {
    "echo": "One message in flight on each connection. raw_uring takes its buffers from a pool fit "
            "for the column's message size; no other server is told the size. A load that sleeps "
            "while it has nothing to do has to be woken by the server, in a virtual machine by an "
            "interrupt that costs the sender more than a message: the servers that answer evenly "
            "find it awake. A spinning load is always awake.",
    "http": "GET /plaintext, \"Hello, World!\". raw_uring, asio_minimal and thread_minimal look "
            "for the end of a request and nothing else; rill goes through router and middleware. "
            "The latency of pipelined requests is that of the batch.",
}
UNITS = {"echo": "messages/s", "http": "requests/s"}
FIELDS = ["round", "server", "connections", "size", "spin", "messages_per_second", "p50_us", "p99_us",
          "p999_us", "max_us", "load_cpu", "server_user_us", "server_system_us", "others_cpu"]
IDLE_CONNECTIONS = 16000
HERE = pathlib.Path(__file__).resolve().parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("suite", nargs="?", default="echo", choices=SUITES)
    parser.add_argument("--bin-dir", default="build/release/bin", type=pathlib.Path)
    parser.add_argument("--out", default="bench/results", type=pathlib.Path)
    parser.add_argument("--servers", help="comma-separated names (all)")
    parser.add_argument("--scenarios", help="comma-separated CONNECTIONSxBYTES, or of http "
                        "CONNECTIONSxREQUESTS in flight on each; with spin at "
                        "its end the load never sleeps")
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--duration", default="3s")
    parser.add_argument("--warmup", default="500ms")
    parser.add_argument("--server-core", default=0, type=int)
    parser.add_argument("--load-core", default=1, type=int)
    parser.add_argument("--memory", action="store_true",
                        help="measure resident memory per idle connection instead of speed")
    parser.add_argument("--connections", default=IDLE_CONNECTIONS, type=int,
                        help="idle connections for --memory")
    parser.add_argument("--smoke", action="store_true",
                        help="one short round of two scenarios, to see that everything runs")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.duration, options.warmup = 1, "1s", "100ms"
        options.connections = min(options.connections, 1000)
    options.known = SUITES[options.suite]
    options.servers = options.servers.split(",") if options.servers else list(options.known)
    if not options.scenarios:
        scenarios = SCENARIOS[options.suite]
        options.scenarios = ",".join([scenarios[0], scenarios[-1]] if options.smoke else scenarios)
    unknown = set(options.servers) - set(options.known)
    if unknown:
        parser.error(f"unknown servers {sorted(unknown)}; there are {sorted(options.known)}")
    cores = os.sched_getaffinity(0)
    if options.load_core not in cores or options.server_core not in cores:
        first = min(cores)
        print(f"warning: too few cores, server and load share core {first}", file=sys.stderr)
        options.load_core = options.server_core = first
    return options


class Child:
    """A pinned process that is ended on leaving the `with` block."""

    def __init__(self, command, core):
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def line(self, pattern, seconds=20):
        """The first line of output, matched against `pattern`."""
        readable, _, _ = select.select([self.process.stdout], [], [], seconds)
        text = self.process.stdout.readline() if readable else ""
        match = re.match(pattern, text)
        if not match:
            raise RuntimeError(f"{self.process.args[0]} said {text!r}, not {pattern!r}")
        return match


def program_of(name, options):
    """The path of a server, or None where it, or what it needs, is missing."""
    program = options.known[name][0]
    if program not in NEEDED:
        path = options.bin_dir / program
        return path if path.exists() else None
    return HERE / options.suite / program if shutil.which(NEEDED[program]) else None


def start_server(name, size, options):
    program, arguments, large = options.known[name]
    command = {".py": [sys.executable], ".js": ["node"]}.get(pathlib.Path(program).suffix, [])
    is_large = options.suite == "echo" and size >= 16384
    return Child(command + [str(program_of(name, options)), "--port", "0"] + arguments
                 + (large if is_large else []), options.server_core)


def load_arguments(size, spin, options):
    kind = ["--http", "/plaintext", "--pipeline"] if options.suite == "http" else ["--size"]
    return kind + [str(size)] + ["--spin"] * spin


def seconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)?", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "m": 60}.get(unit, 1)


READY = r"ready: tcp \S+:(\d+)"


def cpu_seconds():
    """Time that all processes of the machine have spent on cores, interrupts included."""
    fields = [int(x) for x in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    user, nice, system, _, _, irq, soft_irq = fields[:7]
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid):
    """(user, system) of a process and its threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return [int(x) / os.sysconf("SC_CLK_TCK") for x in fields[11:13]]


def own_cpu_seconds():
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(name, connections, size, spin, options):
    before, own_before, started = cpu_seconds(), own_cpu_seconds(), time.monotonic()
    with start_server(name, size, options) as server:
        port = server.line(READY)[1]
        command = [str(options.bin_dir / "echo_load"), "--port", port, "--json",
                   "--connections", str(connections), "--duration", options.duration,
                   "--warmup", options.warmup] + load_arguments(size, spin, options)
        load = subprocess.run(command, capture_output=True, text=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, {options.load_core}))
        used = process_seconds(server.process.pid)
    if load.returncode != 0:
        raise RuntimeError(load.stderr.strip())
    result = json.loads(load.stdout)
    # The processor time of a message is a figure of its own: where the load is the limit, only it
    # tells servers apart. It includes connecting and the warm-up, of which the messages are counted
    # in proportion.
    share = (result["seconds"] + seconds(options.warmup)) / result["seconds"]
    for key, value in zip(("server_user_us", "server_system_us"), used):
        result[key] = round(value * 1e6 / max(1, result["messages_per_second"]
                                              * result["seconds"] * share), 3)
    others = (cpu_seconds() - before) - (own_cpu_seconds() - own_before)
    result["others_cpu"] = round(max(0, others) / (time.monotonic() - started) / os.cpu_count(), 3)
    return result


def measure_all(servers, scenarios, options):
    rows, failures = [], []
    for connections, size, spin in scenarios:
        for round_number in range(1, options.rounds + 1):
            for name in servers:
                try:
                    result = measure(name, connections, size, spin, options)
                except RuntimeError as error:
                    failures.append(f"{name} at {connections} x {size} B: {error}")
                    print(f"failed: {failures[-1]}", file=sys.stderr)
                    continue
                row = {key: result[key] for key in FIELDS if key in result}
                row.update({"round": round_number, "server": name, "size": size, "spin": spin})
                rows.append(row)
                print(f"{connections:>6} x {size:<6} round {round_number} {name:<14} "
                      f"{result['messages_per_second']:>10.0f} {UNITS[options.suite]}", flush=True)
    return rows, failures


def resident_bytes(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def descriptor_count(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def measure_memory(name, options):
    """Resident bytes per idle connection, and before any."""
    with start_server(name, 64, options) as server:
        pid = server.process.pid
        port = server.line(READY)[1]
        time.sleep(0.2)
        before, descriptors = resident_bytes(pid), descriptor_count(pid)
        command = [str(options.bin_dir / "echo_load"), "--port", port, "--idle",
                   "--connections", str(options.connections)]
        with Child(command, options.load_core) as load:
            load.line(r"idle: (\d+) connected", 60)
            patience = time.monotonic() + 60
            while descriptor_count(pid) < descriptors + options.connections:
                if time.monotonic() > patience:
                    raise RuntimeError("the server did not accept all connections within 60 s")
                time.sleep(0.05)
            time.sleep(0.5)
            after = resident_bytes(pid)
    return (after - before) / options.connections, before


def compiler(binary):
    """What the binary's .comment section says; clang's contains GCC's start-up files too."""
    contents = binary.read_bytes()
    found = (re.search(rb"clang version [\d.]+", contents)
             or re.search(rb"GCC: \([^)]*\) [\d.]+", contents))
    return found[0].decode() if found else "unknown"


def cpu_model():
    match = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.machine()


def circumstances(servers, options):
    return [
        f"* machine: {cpu_model()}, {os.cpu_count()} cores; server on core {options.server_core}, "
        f"load on core {options.load_core}",
        f"* kernel: {platform.release()}; compiler: "
        + compiler(program_of(servers[0], options)),
        f"* date: {datetime.date.today().isoformat()}",
        f"* command: `bench/{pathlib.Path(sys.argv[0]).name} " + " ".join(sys.argv[1:]) + "`",
        "",
    ]


def summarize(rows):
    """(server, connections, size, spin) -> medians and spread."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in ("server", "connections", "size", "spin")),
                          []).append(row)
    summary = {}
    for key, group in groups.items():
        speeds = [row["messages_per_second"] for row in group]
        summary[key] = {"speed": statistics.median(speeds), "min": min(speeds),
                        "max": max(speeds)}
        for field in ("p50_us", "p99_us", "load_cpu", "server_user_us", "server_system_us"):
            summary[key][field] = statistics.median(row[field] for row in group)
    for (_, *scenario), values in summary.items():
        raw = [summary[key]["speed"] for name in RAW if (key := (name, *scenario)) in summary]
        values["ratio"] = values["speed"] / max(raw) if raw else None
    return summary


def ratio_text(value):
    return "–" if value is None else f"{value:.2f}"


def column_title(connections, size, spin, options):
    if options.suite == "http":
        title = str(connections) + (f", {size} in flight" if size > 1 else "")
    else:
        title = f"{connections} x " + (f"{size // 1024} KiB" if size >= 1024 else f"{size} B")
    return title + ", spinning load" * spin


def speed_report(rows, failures, servers, scenarios, options):
    summary = summarize(rows)
    lines = [f"# {TITLES[options.suite]}", ""] + circumstances(servers, options)
    lines += [f"{options.rounds} interleaved rounds of {options.duration}, medians.", "", "## Ratio to the best raw loop of the column", "",
              "| server | " + " | ".join(column_title(*s, options) for s in scenarios) + " |",
              "|---|" + "---|" * len(scenarios)]
    for name in servers:
        cells = [ratio_text(summary.get((name, *s), {}).get("ratio")) for s in scenarios]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for scenario in scenarios:
        lines += ["", f"## {column_title(*scenario, options)}", "",
                  f"| server | {UNITS[options.suite]} | min–max | ratio | p50 us | p99 us "
                  "| load CPU | server us, user + system |",
                  "|---|---|---|---|---|---|---|---|"]
        for name in servers:
            values = summary.get((name, *scenario))
            if values is None:
                lines.append(f"| {name} | failed | | | | | | |")
                continue
            lines.append(f"| {name} | {values['speed']:,.0f} | {values['min']:,.0f}–"
                         f"{values['max']:,.0f} | {ratio_text(values['ratio'])} | "
                         f"{values['p50_us']:,.1f} | {values['p99_us']:,.1f} | "
                         f"{values['load_cpu']:.2f} | {values['server_user_us']:.2f} + "
                         f"{values['server_system_us']:.2f} |")
    lines += ["", NOTES[options.suite] + " Load CPU is the share of its core that the load used: "
              "near 1 the load was the limit, and what servers cost stands in the last column."]
    if rows:
        worst = max(row["others_cpu"] for row in rows)
        lines.append(f"Other processes used up to {worst:.0%} of the machine during a run.")
    lines += [f"Failed: {failure}" for failure in failures]
    return "\n".join(lines) + "\n"


def draw(rows, servers, scenarios, options):
    if not shutil.which("gnuplot"):
        print("gnuplot is not installed: no drawing", file=sys.stderr)
        return
    summary = summarize(rows)
    table = ["scenario " + " ".join(servers)]
    for scenario in scenarios:
        ratios = [summary.get((name, *scenario), {}).get("ratio") for name in servers]
        title = column_title(*scenario, options).replace(", ", "\\n")
        table.append(f'"{title}" '
                     + " ".join("NaN" if r is None else f"{r:.4f}" for r in ratios))
    script = ["$data << END", *table, "END", f"""
set terminal svg size 1100,420 font "sans-serif,12" background "white"
set output "{options.out / (options.suite + '.svg')}"
set title "{TITLES[options.suite]}, ratio to the best raw loop" noenhanced
set style data histograms
set style histogram clustered gap 1.5
set style fill solid 0.85 noborder
set key outside right top noenhanced autotitle columnhead
set yrange [0:1.15]
set grid ytics lc rgb "#cccccc"
set xtics nomirror
plot for [i=2:{len(servers) + 1}] $data using i:xtic(1)
"""]
    subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=False)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"wrote {path}")


def write_csv(path, fields, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path}")


def run_speed(servers, options):
    scenarios = [(*(int(x) for x in text.removesuffix("spin").split("x")), text.endswith("spin"))
                 for text in options.scenarios.split(",")]
    rows, failures = measure_all(servers, scenarios, options)
    text = speed_report(rows, failures, servers, scenarios, options)
    print("\n" + text)
    write(options.out / f"{options.suite}.md", text)
    write_csv(options.out / f"{options.suite}.csv", FIELDS, rows)
    draw(rows, servers, scenarios, options)
    return not failures


def run_memory(servers, options):
    lines = [f"# {TITLES[options.suite].split(':')[0]}: resident memory of idle connections", ""] + circumstances(servers, options)
    lines += [f"{options.connections:,} idle connections: resident set after minus before, "
              "divided. Memory of the kernel (sockets) is not in it.", "",
              "| server | bytes per connection | before, MiB |", "|---|---|---|"]
    rows, failed = [], False
    for name in servers:
        try:
            each, before = measure_memory(name, options)
        except RuntimeError as error:
            lines.append(f"| {name} | failed: {error} | |")
            failed = True
            continue
        lines.append(f"| {name} | {each:,.0f} | {before / 2**20:.1f} |")
        rows.append({"server": name, "connections": options.connections,
                     "bytes_per_connection": round(each), "bytes_before": before})
    text = "\n".join(lines) + "\n"
    print(text)
    write(options.out / f"{options.suite}_memory.md", text)
    write_csv(options.out / f"{options.suite}_memory.csv",
              ["server", "connections", "bytes_per_connection", "bytes_before"], rows)
    return not failed


def main():
    options = parse_arguments()
    # So that the `with` blocks end the servers when this script is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not (options.bin_dir / "echo_load").exists():
        sys.exit(f"error: no echo_load in {options.bin_dir}; build first")
    servers = []
    for name in options.servers:
        if program_of(name, options):
            servers.append(name)
        else:
            print(f"skipped: {name}, no {options.known[name][0]}", file=sys.stderr)
    if not servers:
        sys.exit("error: no server to measure")
    succeeded = run_memory(servers, options) if options.memory else run_speed(servers, options)
    sys.exit(0 if succeeded else 1)


if __name__ == "__main__":
    main()
