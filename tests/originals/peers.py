"""Python programs to talk to: what a reader who has learnt sockets from Python has written.

peers.py NAME ARGUMENT...   as each function below has them; ports are numbers.

They use plain blocking sockets and say on standard output what a person would want to see. What
they say and send is fixed to the byte, so that ours can be compared with them: README.md.
Not here: how they are tried (originals.py).
"""

import socket
import sys
import threading
import time
from datetime import datetime


def tcp(host, port, patience=None):
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.settimeout(patience)
    try:
        made.connect((host, port))
    except BaseException:
        made.close()
        raise
    return made


def echo_server(port):
    """One message a connection, one connection at a time."""
    port = int(port)
    with socket.create_server(("localhost", port), backlog=5) as listener:
        print(f"Server listening on localhost:{port}")
        try:
            while True:
                peer, address = listener.accept()
                with peer:
                    print("Connection from", address)
                    text = peer.recv(1024).decode()
                    if text:
                        print("Received:", text)
                        peer.send(("Echo: " + text).encode())
        except KeyboardInterrupt:
            print("Server shutting down...")


def page_for(path, address):
    lines = ["<html>",
             "<head><title>My Python Server</title></head>",
             "<body>",
             "    <h1>Hello from Python!</h1>",
             f"    <p>You requested: {path}</p>",
             f"    <p>Current time: {datetime.now()}</p>",
             f"    <p>Your address: {address[0]}:{address[1]}</p>",
             "</body>",
             "</html>"]
    margin = "\n" + 12 * " "
    return margin + margin.join(lines) + margin


def http_server(port):
    """Whatever is asked for, it is the same page. Its lines end with LF alone."""
    with socket.create_server(("localhost", int(port)), backlog=5) as listener:
        print(f"HTTP Server running on http://localhost:{port}")
        while True:
            peer, address = listener.accept()
            with peer:
                asked = peer.recv(1024).decode()
                print(f"Request from {address}:\n{asked}")
                _, path, _ = asked.partition("\n")[0].split()
                page = page_for(path, address)
                head = ["HTTP/1.1 200 OK", "Content-Type: text/html",
                        f"Content-Length: {len(page)}", "Connection: close", "", page]
                peer.send("\n".join(head).encode())


def udp_server(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("localhost", int(port)))
        print(f"UDP Server listening on localhost:{port}")
        while True:
            text, address = mine.recvfrom(1024)
            print(f"Received from {address}: {text.decode()}")
            mine.sendto(b"Echo: " + text, address)


def udp_client(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.sendto(b"Hello UDP Server!", ("localhost", int(port)))
        print("Server response:", mine.recvfrom(1024)[0].decode())


def web_client(host, port):
    """The first 200 characters of the answer, or of what the first read brings."""
    with tcp(host, int(port)) as server:
        server.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        print(server.recv(1024).decode()[:200])


def robust_client(host, port, message, patience):
    """Three attempts, a second apart."""
    reply = None
    for number in (1, 2, 3):
        try:
            with tcp(host, int(port), float(patience)) as server:
                server.send(message.encode())
                reply = server.recv(1024).decode()
            break
        except TimeoutError:
            failure = "Connection timed out"
        except socket.gaierror as error:
            failure = f"Address resolution failed: {error}"
        except ConnectionRefusedError:
            failure = "Connection refused"
        except Exception as error:
            failure = f"Unexpected error: {error}"
        print(f"Attempt {number}: {failure}")
        if number != 3:
            print("Retrying in 1 seconds...")
            time.sleep(1)
    print(f"Success: {reply}" if reply else "Failed to communicate with server")


def chat_server(port):
    """Asks each for a name, and passes what one says on to the others, chunk by chunk."""
    members = {}  # socket: name, in the order of joining

    def tell(text, sender=None):
        for peer in list(members):
            if peer is not sender:
                try:
                    peer.send(text)
                except OSError:
                    leave(peer)

    def leave(peer):
        name = members.pop(peer, None)
        if name is not None:
            tell(f"{name} left the chat!".encode())
            peer.close()

    def listen_to(peer):
        try:
            while text := peer.recv(1024):
                tell(text, peer)
        except OSError:
            pass
        leave(peer)

    with socket.create_server(("localhost", int(port))) as listener:
        print(f"Chat server running on localhost:{port}")
        while True:
            peer, address = listener.accept()
            print("Connected with", address)
            peer.send(b"NICK")
            name = peer.recv(1024).decode()
            members[peer] = name
            print("Nickname of client is", name)
            tell(f"{name} joined the chat!".encode())
            threading.Thread(target=listen_to, args=(peer,)).start()


def requests_client(get_url, post_url):
    import requests  # Debian's python3-requests
    try:
        got = requests.get(get_url)
        print("Status Code:", got.status_code)
        print("Headers:", got.headers)
        print("Content:", got.json())
        got = requests.post(post_url, json={"name": "Python", "type": "language"})
        print("POST Response:", got.json())
    except requests.exceptions.RequestException as error:
        print("HTTP Error:", error)


def mail_client(host, port):
    """One message, after STARTTLS and a login, with what Python brings."""
    import smtplib
    from email.mime.text import MIMEText
    message = MIMEText("Hello from Python!")
    message["Subject"] = "Test Email"
    message["From"] = "your_email@example.com"
    message["To"] = "friend@example.com"
    try:
        server = smtplib.SMTP(host, int(port))
        server.starttls()
        server.login("your_email@example.com", "your_password")
        server.send_message(message)
        server.quit()
        print("Email sent successfully!")
    except Exception as error:
        print(f"Email failed: {error}")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
