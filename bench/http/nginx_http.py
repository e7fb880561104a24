#!/usr/bin/env python3
"""HTTP by nginx, `return 200`, one worker. Becomes nginx after it has said where that listens."""

import argparse
import os
import pathlib
import socket
import tempfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", default=0, type=int)
port = parser.parse_args().port
if port == 0:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
folder = pathlib.Path(tempfile.mkdtemp(prefix="rill-nginx-"))
configuration = folder / "nginx.conf"
configuration.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 18000; accept_mutex off; multi_accept on; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; tcp_nodelay on;
  default_type text/plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /plaintext {{ return 200 "Hello, World!"; }}
  }}
}}
""")
ended = os.fork()
if ended == 0:
    # The child says that nginx is there when it takes connections; the parent becomes nginx, so
    # that it is nginx whom a signal ends.
    import time
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.02)
    print(f"ready: tcp 127.0.0.1:{port}", flush=True)
    os._exit(0)
os.execvp("nginx", ["nginx", "-p", str(folder), "-c", str(configuration)])
