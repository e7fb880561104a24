"""websocket_echo against the WebSockets that the world has: Node's ws, Python's websockets, Chromium.

websocket_peers.py FOLDER [unittest arguments]: FOLDER holds the programs. An argument such as Node is
one peer alone. What is not installed is skipped; ends with 77 if all that was asked for was.
Loopback and free ports only.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import types
import unittest

import http_clients
import programs
from programs import PATIENCE, Server

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")  # what the peers are given
ALL_SKIPPED = 77  # SKIP_RETURN_CODE in CMakeLists.txt
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's modules are for

CLIENT = """
import asyncio, sys, websockets

async def visit(url, compression):
    sent = ["hello", "", "gr\\u00fc\\u00dfe \\U0001f600", b"\\x00\\xff", "x" * 70000, b"y" * 300000,
            "z" * 1000, "z" * 1000]
    async with websockets.connect(url, compression=compression, max_size=None) as peer:
        waiter = await peer.ping("are you there")
        await waiter
        for each in sent:
            await peer.send(each)
            assert await peer.recv() == each, each[:10]
        await peer.send(iter(["in ", "three ", "parts"]))
        assert await peer.recv() == "in three parts"
        assert bool(peer.extensions) == bool(compression), peer.extensions
        await peer.close(4000, "enough")
        assert peer.close_code == 4000, peer.close_code

for compression in (None, "deflate"):
    asyncio.run(visit(sys.argv[1], compression))
print("good")
"""

SERVER = """
import asyncio, websockets

async def echo(peer, *_):
    async for message in peer:
        await peer.send(message)
    print([type(each).__name__ for each in peer.extensions], peer.close_code, flush=True)

async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, compression="deflate") as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"""


class Peer(unittest.TestCase):
    arguments = ()

    def setUp(self):
        self.server = self.enterContext(Server("websocket_echo", "--port", "0", *self.arguments))
        self.url = f"ws://127.0.0.1:{self.server.port}/echo"

    def say(self, *command):
        outcome = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                 timeout=PATIENCE, env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        self.assertEqual(outcome.returncode, 0, outcome)
        self.assertEqual(outcome.stdout, "good\n")

    def hear(self, *command):
        """websocket_echo as a client of the server that `command` starts: what both have said."""
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "NODE_PATH": "/usr/share/nodejs"})
        try:
            port = int(server.stdout.readline())
            lines = ["hello", "grüße 😀", "x" * 70000, "y" * 1000, "y" * 1000]
            client = subprocess.Popen(
                [programs.program("websocket_echo"), "--connect", f"ws://127.0.0.1:{port}/"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            with client:  # says farewell when its input ends
                for line in lines:
                    client.stdin.write(line + "\n")
                    client.stdin.flush()
                    self.assertEqual(client.stdout.readline(), line + "\n")
                client.stdin.close()
                self.assertEqual(client.wait(PATIENCE), 0)
            return server.stdout.readline()
        finally:
            server.kill()
            server.wait()
            server.stdout.close()

    def drains(self):
        self.server.signal(signal.SIGTERM)
        self.assertEqual(self.server.wait(), 0)


class Node(Peer):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("node") or not os.path.isdir("/usr/share/nodejs/ws"):
            raise unittest.SkipTest("node or node-ws is not installed")

    def test_as_client(self):
        self.say("node", os.path.join(HERE, "ws_client.js"), self.url)
        self.drains()

    def test_as_server(self):
        said = self.hear("node", os.path.join(HERE, "ws_server.js"))
        self.assertIn("permessage-deflate", said)
        self.assertIn("1000", said)


class Python(Peer):
    @classmethod
    def setUpClass(cls):
        probe = subprocess.run([SYSTEM_PYTHON, "-c", "import websockets"], capture_output=True)
        if probe.returncode != 0:
            raise unittest.SkipTest("python3-websockets is not installed")

    def test_as_client(self):
        self.say(SYSTEM_PYTHON, "-c", CLIENT, self.url)
        self.drains()

    def test_as_server(self):
        self.assertEqual(self.hear(SYSTEM_PYTHON, "-c", SERVER), "['PerMessageDeflate'] 1000\n")


class Chromium(Peer):
    @classmethod
    def setUpClass(cls):
        names = ("chromium-headless-shell", "chromium")
        cls.tool = next(filter(None, map(shutil.which, names)), None)
        if not cls.tool:
            raise unittest.SkipTest("chromium-headless-shell is not installed")

    def setUp(self):
        root = self.enterContext(tempfile.TemporaryDirectory())
        shutil.copy(os.path.join(HERE, "websocket.html"), root)
        self.page = self.enterContext(Server("http_server", "--port", "0", "--root", root))
        self.arguments = ("--origin", f"http://127.0.0.1:{self.page.port}")
        super().setUp()

    def test_a_page_that_may_connect(self):
        told = queue.SimpleQueue()
        listener = http_clients.Server(("127.0.0.1", 0), http_clients.Handler)
        listener.seen = types.SimpleNamespace(append=told.put)
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        home = self.enterContext(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser = subprocess.Popen(
            [self.tool, "--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server",
             "--user-data-dir=" + home, "--remote-debugging-port=0",
             f"http://127.0.0.1:{self.page.port}/files/websocket.html?{self.url}"
             f"#http://127.0.0.1:{listener.server_port}/"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": home}, start_new_session=True)
        try:
            report = json.loads(told.get(timeout=PATIENCE)[3])
        finally:
            os.killpg(browser.pid, signal.SIGKILL)  # with the processes that it has started
            browser.wait()
            listener.shutdown()
            listener.server_close()
        self.assertEqual(report["heard"], [True] * 6)
        self.assertIn("permessage-deflate", report["extensions"])
        self.assertEqual((report["code"], report["clean"]), (4001, True))


def main():
    programs.FOLDER = os.path.abspath(sys.argv.pop(1))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(ALL_SKIPPED if result.skipped and not result.testsRun else 0)


if __name__ == "__main__":
    main()
