#!/usr/bin/env python3
"""HTTP by nginx, `return 200` and files, one worker. Becomes nginx after it has said where it listens."""

import argparse
import os
import pathlib
import socket
import tempfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--port", default=0, type=int)
parser.add_argument("--tls-cert", help="with --tls-key: HTTPS too, on a port of its own")
parser.add_argument("--tls-key")
parser.add_argument("--root", default="/nonexistent", help="the folder below /files/")
options = parser.parse_args()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


port = options.port or free_port()
ports, tls = [("tcp", port)], ""
if options.tls_cert:
    ports.append(("https", free_port()))
    tls = f"""
    listen 127.0.0.1:{ports[1][1]} ssl backlog=4096;
    ssl_certificate {options.tls_cert}; ssl_certificate_key {options.tls_key};
    ssl_protocols TLSv1.2 TLSv1.3;"""
folder = pathlib.Path(tempfile.mkdtemp(prefix="rill-nginx-"))
configuration = folder / "nginx.conf"
configuration.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 18000; accept_mutex off; multi_accept on; }}
http {{
  access_log off; sendfile on; keepalive_requests 1000000000; keepalive_timeout 3600s; tcp_nodelay on;
  default_type text/plain;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;{tls}
    location /files/ {{ alias {options.root}/; }}
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
    for kind, each in ports:
        print(f"ready: {kind} 127.0.0.1:{each}", flush=True)
    os._exit(0)
os.execvp("nginx", ["nginx", "-p", str(folder), "-c", str(configuration)])
