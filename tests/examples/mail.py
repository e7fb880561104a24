"""send_mail and mail_sink, tried as a user would, and against the mail programs that Debian has.

mail.py FOLDER CLASS: FOLDER holds the programs; Python alone needs nothing else. Every server has its
own files in a temporary folder and a free port of 127.0.0.1. Ends with 77 if all tests were skipped.
"""

import contextlib
import email
import email.policy
import email.utils
import glob
import json
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

FOLDER = ""
PATIENCE = 60  # seconds after which something that should have happened has not
PASSWORD = "s3cret word"
SUBJECT = "Grüße aus 東京, with a subject that is long enough to be folded over several lines"
TEXT = "Hällo,\n.\n..\nFrom here on\n" + "x" * 1500 + "\ntrailing blank \n=20\n"
HTML = "<p>Grüße</p>\n<img src=\"cid:p1\">\n"


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(what + " did not come")
        time.sleep(0.02)
    return result


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rill-mail-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.attached = bytes(range(256)) * 800
        self.files = {"bild.bin": self.attached, "leer.txt": b"",
                      "Übersicht für “alle” von uns, die mehr als fünfzig Zeichen hat.pdf": b"%PDF"}
        self.paths = [write(self.path(name), content) for name, content in self.files.items()]
        self.secret = write(self.path("password"), PASSWORD + "\n")

    def path(self, name):
        return os.path.join(self.folder, name)

    def certificate(self):
        if not os.path.exists(self.path("cert.pem")):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
                            self.path("key.pem"), "-out", self.path("cert.pem")], check=True,
                           capture_output=True)
        return self.path("cert.pem"), self.path("key.pem")

    def send(self, port, *arguments, code=0, host="127.0.0.1"):
        outcome = subprocess.run(
            [os.path.join(FOLDER, "send_mail"), "--server", f"{host}:{port}", "--from",
             '"Änn \\"A\\" Roe" <ann@example.org>', "--subject", SUBJECT, "--timeout", "30s",
             *arguments], capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, text=True)
        self.assertEqual(outcome.returncode, code, outcome)
        self.assertNotIn(PASSWORD, outcome.stdout + outcome.stderr)
        if code == 0:
            self.assertEqual(outcome.stdout, "Email sent successfully!\n")
        else:
            self.assertRegex(outcome.stdout, r"\AEmail failed: [^\n]+\n\Z")
        return outcome

    def send_everything(self, port, *arguments, **more):
        """A message with all that there is, for check_everything."""
        arguments += ("--body-file", write(self.path("body"), TEXT), "--html",
                      write(self.path("body.html"), HTML))
        for path in self.paths:
            arguments += ("--attach", path)
        return self.send(port, *arguments, **more)

    def check_everything(self, content):
        """Byte for byte what was given, for Python's reader and for that of MIME-tools."""
        self.assertLessEqual(max(map(len, content.split(b"\n"))), 79)
        self.assertTrue(content.isascii())
        letter = email.message_from_bytes(content, policy=email.policy.default)
        self.assertEqual(letter["Subject"], SUBJECT)
        sender = letter["From"].addresses[0]
        self.assertEqual((sender.display_name, sender.addr_spec), ('Änn "A" Roe', "ann@example.org"))
        self.assertLess(abs(email.utils.parsedate_to_datetime(letter["Date"]).timestamp()
                            - time.time()), 100)
        self.assertRegex(letter["Message-ID"], r"\A<[^@]+@example\.org>\Z")
        self.assertNotIn("Bcc", letter)
        self.assertEqual(list(part.defects for part in letter.walk() if part.defects), [])
        plain = letter.get_body(("plain",)).get_content()
        self.assertEqual(plain.replace("\r\n", "\n"), TEXT)
        html = letter.get_body(("html",)).get_content()
        self.assertEqual(html.replace("\r\n", "\n"), HTML)
        seen = {part.get_filename(): part.get_payload(decode=True)
                for part in letter.iter_attachments()}
        self.assertEqual(seen, self.files)
        self.check_by_mime_tools(content)

    def check_by_mime_tools(self, content):
        script = r"""
            use MIME::Parser; my $p = MIME::Parser->new; $p->output_to_core(1);
            sub show { my $e = shift; my @k = $e->parts; if (@k) { show($_) for @k; return }
              print unpack("H*", $e->bodyhandle->as_string), "\n" }
            show($p->parse_data(do { local $/; <STDIN> }));"""
        probe = subprocess.run(["perl", "-MMIME::Parser", "-e", "1"], capture_output=True)
        if probe.returncode != 0:
            return
        outcome = subprocess.run(["perl", "-e", script], input=content, capture_output=True,
                                 timeout=PATIENCE, check=True)
        parts = [bytes.fromhex(line.decode()) for line in outcome.stdout.split(b"\n")[:-1]]
        expected = [TEXT.encode(), HTML.encode(), *self.files.values()]
        self.assertEqual([part.replace(b"\r\n", b"\n") if i < 2 else part
                          for i, part in enumerate(parts)], expected)


# ---------------------------------------------------------------- mail_sink


class Sink(Case):
    """Against mail_sink: Python's smtplib, and send_mail."""

    def start(self, *arguments):
        out = open(self.path("out"), "wb")
        process = subprocess.Popen([os.path.join(FOLDER, "mail_sink"), "--port", "0", *arguments],
                                   stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        out.close()
        self.addCleanup(process.wait)
        self.addCleanup(process.send_signal, signal.SIGTERM)
        found = wait_for(lambda: re.search(rb"ready: smtp 127.0.0.1:(\d+)\n", read(self.path("out"))),
                         "the ready line")
        return int(found.group(1))

    def shown(self):
        return read(self.path("out")).decode().split("\n", 2)[2]

    def test_the_original_code_works(self):
        cert, key = self.certificate()
        port = self.start("--format", "json", "--certificate", cert, "--key", key, "--user", "ann",
                          "--password-file", self.secret)
        from email.mime.text import MIMEText
        message = MIMEText("Hello!\n.\nEnd")
        message["Subject"], message["From"], message["To"] = "Test Email", "a@b.org", "c@d.org"
        with smtplib.SMTP("localhost", port) as server:
            server.starttls(context=ssl.create_default_context(cafile=cert))
            server.login("ann", PASSWORD)
            server.send_message(message)
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                server.sendmail("a@b.org", "nonsense", "x")
            server.sendmail("a@b.org", ["c@d.org", "e@f.org"], "Subject: two\r\n\r\n\r\n..x\r\n")
        first, second = map(json.loads, self.shown().splitlines())
        self.assertEqual((first["from"], first["to"], first["tls"], first["user"]),
                         ("a@b.org", ["c@d.org"], True, "ann"))
        self.assertEqual(email.message_from_string(first["content"]).get_payload(),
                         "Hello!\r\n.\r\nEnd\r\n")
        self.assertEqual(second["to"], ["c@d.org", "e@f.org"])
        self.assertEqual(second["content"], "Subject: two\r\n\r\n\r\n..x\r\n")
        with smtplib.SMTP("localhost", port) as server:
            with self.assertRaises(smtplib.SMTPException):
                server.sendmail("a@b.org", "c@d.org", "x")  # without AUTH
            server.starttls(context=ssl.create_default_context(cafile=cert))
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                server.login("ann", "guess")

    def test_text_cannot_write_on_the_terminal(self):
        port = self.start()
        with smtplib.SMTP("localhost", port) as server:
            server.sendmail("a@b.org", "c@d.org", "Subject: \x1b[2J\r\n\r\nhi\r\n")
        self.assertIn("from <a@b.org> to <c@d.org>", self.shown())
        self.assertIn("Subject: \\x1b[2J\n\nhi\n", self.shown())

    def test_everything_comes_into_a_maildir(self):
        box = self.path("box")
        port = self.start("--maildir", box)
        self.send_everything(port, "--starttls", "never", "--to", "Bob <bob@example.org>", "--cc",
                             "c@example.org", "--bcc", "d@example.org")
        (name,) = glob.glob(box + "/new/*")
        self.assertEqual(os.listdir(box + "/tmp"), [])
        self.check_everything(read(name))

    def test_a_user_whom_nobody_could_be_is_refused_at_the_start(self):
        outcome = subprocess.run(
            [os.path.join(FOLDER, "mail_sink"), "--port", "0", "--user", "ann", "--password-file",
             self.secret], capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, text=True)
        self.assertNotEqual(outcome.returncode, 0)
        self.assertIn("--user needs --certificate or --auth-without-tls",
                      outcome.stdout + outcome.stderr)

    def test_what_could_not_be_kept_leaves_nothing_behind(self):
        box = self.path("box")
        port = self.start("--maildir", box)
        os.rmdir(box + "/new")
        self.send(port, "--starttls", "never", "--body", "x", "--to", "b@example.org", code=75)
        self.assertEqual(os.listdir(box + "/tmp"), [])

    def test_an_attachment_that_is_gone_at_the_second_attempt_is_no_temporary_failure(self):
        path = write(self.path("gone.txt"), "x")

        def answer(listener):
            busy, _ = listener.accept()
            os.unlink(path)
            busy.sendall(b"421 4.3.2 busy\r\n")
            busy.close()
            with listener.accept()[0] as fine, fine.makefile("rb") as lines:
                fine.sendall(b"220 fine\r\n")
                for _ in lines:
                    fine.sendall(b"250 fine\r\n")

        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=answer, args=(listener,), daemon=True)
            server.start()
            failed = self.send(listener.getsockname()[1], "--starttls", "never", "--body", "x", "--to",
                               "b@example.org", "--attach", path, "--retry", "1", code=1)
            self.assertIn("No such file", failed.stdout)
            server.join(PATIENCE)

    def test_failures_have_their_codes(self):
        port = self.start("--size-max", "1000")
        to = ("--starttls", "never", "--to", "b@example.org")
        refused = self.send(port, *to, "--attach", self.paths[0], code=1)
        self.assertIn("and the server takes 1000", refused.stdout)
        self.assertIn("STARTTLS", self.send(port, "--to", "b@example.org", code=1).stdout)
        self.assertIn("refused", self.send(free_port(), *to, code=75).stdout)
        self.assertIn("No such file", self.send(port, *to, "--attach", "/none", code=1).stdout)
        self.assertIn("not an address", self.send(port, "--to", "a\r\nb@c.d", code=1).stdout)
        self.assertIn("not an address of mail: 'a\\x0d\\x0a",
                      self.send(port, *to, "--cc", "a\r\nBcc: x@y.z <b@c.d>", code=1).stdout)


class Swaks(Sink):
    """Against mail_sink: swaks."""

    def setUp(self):
        if not shutil.which("swaks"):
            self.skipTest("swaks is not installed")
        super().setUp()

    test_the_original_code_works = test_text_cannot_write_on_the_terminal = None
    test_everything_comes_into_a_maildir = test_failures_have_their_codes = None
    test_a_user_whom_nobody_could_be_is_refused_at_the_start = None
    test_what_could_not_be_kept_leaves_nothing_behind = None
    test_an_attachment_that_is_gone_at_the_second_attempt_is_no_temporary_failure = None

    def test_swaks(self):
        cert, key = self.certificate()
        port = self.start("--format", "json", "--certificate", cert, "--key", key, "--user", "ann",
                          "--password-file", self.secret)
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            for pipeline in ((), ("--pipeline",)):
                outcome = subprocess.run(
                    ["swaks", "--server", "127.0.0.1", "--port", str(port), "--tls", "--auth",
                     mechanism, "--auth-user", "ann", "--auth-password", PASSWORD, "--from",
                     "a@b.org", "--to", "c@d.org,e@f.org", "--body", ".\n..\nhi", *pipeline],
                    capture_output=True, timeout=PATIENCE, text=True)
                if mechanism == "CRAM-MD5" and outcome.returncode in (10, 28):
                    continue  # swaks lacks a module for it
                self.assertEqual(outcome.returncode, 0, outcome.stdout)
                got = json.loads(self.shown().splitlines()[-1])
                self.assertEqual(got["to"], ["c@d.org", "e@f.org"])
                self.assertIn("\r\n\r\n.\r\n..\r\nhi", got["content"])


# ---------------------------------------------------------------- servers that are not ours


class Aiosmtpd(Case):
    """send_mail against aiosmtpd."""

    def setUp(self):
        try:
            import aiosmtpd.controller
            import aiosmtpd.smtp
        except ImportError:
            self.skipTest("python3-aiosmtpd is not installed")
        super().setUp()
        got = self.got = []

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address, options):
                if address.startswith("nobody"):
                    return "550 5.1.1 no such user"
                if address.startswith("later"):
                    return "450 4.2.1 not now"
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, server, session, envelope):
                if b"drop me" in envelope.content:
                    server.transport.abort()
                got.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
                return "250 OK"

        cert, key = self.certificate()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)

        def check(server, session, envelope, mechanism, data):
            good = mechanism in ("PLAIN", "LOGIN") and (data.login, data.password) == (
                b"ann", PASSWORD.encode())
            return aiosmtpd.smtp.AuthResult(success=good, handled=False)

        def start(**more):
            made = aiosmtpd.controller.Controller(Handler(), hostname="127.0.0.1", port=free_port(),
                                                  **more)
            made.start()
            self.addCleanup(made.stop)
            return made.port

        self.plain = start()
        self.starttls = start(require_starttls=True, tls_context=context, authenticator=check,
                              auth_required=True)
        self.implicit = start(ssl_context=context)
        self.login = ("--user", "ann", "--password-file", self.secret)

    def test_everything_over_each_kind_of_connection(self):
        cert, _ = self.certificate()
        to = ("--to", "bob@example.org", "--bcc", "eve@example.org")
        self.send_everything(self.plain, "--starttls", "never", *to)
        self.send_everything(self.plain, "--starttls", "if-offered", *to)
        verbose = self.send_everything(self.starttls, "--cacert", cert, *self.login, *to, "-v")
        self.assertIn("> AUTH PLAIN ****\n", verbose.stderr)
        self.send_everything(self.implicit, "--tls", "--cacert", cert, *to, host="localhost")
        self.assertEqual(len(self.got), 4)
        for sender, recipients, content in self.got:
            self.assertEqual(sender, "ann@example.org")
            self.assertEqual(recipients, ["bob@example.org", "eve@example.org"])
            self.check_everything(content)

    def test_refusals(self):
        never = ("--starttls", "never", "--body", "x")
        gone = self.send(self.plain, *never, "--to", "nobody@example.org", code=1)
        self.assertIn("nobody@example.org: 550 5.1.1 no such user", gone.stdout)
        self.send(self.plain, *never, "--to", "later@example.org", code=75)
        partly = self.send(self.plain, *never, "--to", "b@c.d", "--to", "later@c.d", code=1)
        self.assertIn("not for everybody: later@c.d: 450", partly.stdout)
        lost = self.send(self.plain, "--starttls", "never", "--body", "drop me", "--to", "b@c.d",
                         code=1)
        self.assertIn("may have been accepted or not", lost.stdout)

    def test_tls_is_believed_only_with_the_right_certificate(self):
        to = ("--to", "b@example.org", "--body", "x")
        self.send(self.starttls, *to, *self.login, code=1)
        self.send(self.implicit, "--tls", *to, code=1)
        cert, _ = self.certificate()
        write(self.secret, "guess")
        wrong = self.send(self.starttls, *to, *self.login, "--cacert", cert, code=1)
        self.assertIn("AUTH: 535", wrong.stdout)
        never = self.send(self.starttls, "--starttls", "never", *to, *self.login, code=1)
        self.assertIn("credentials are not sent without TLS", never.stdout)
        self.assertEqual(len([each for each in self.got if each[1] == ["b@example.org"]]), 0)


class Delivered(Case):
    """What servers of the world have in common: a message comes into a mailbox."""

    def check_delivery(self, port, box, *arguments):
        self.send_everything(port, "--to", "bob@rill.test", "--bcc", "eve@rill.test", *arguments)
        names = wait_for(lambda: (found := glob.glob(box)) and len(found) == 2 and found, "mail")
        for name in names:
            self.check_everything(wait_for(lambda name=name: read(name), "the content"))

    def check_fields(self, port, *arguments):
        refused = self.send(port, "--to", "bob@elsewhere.test", "--body", "x", *arguments, code=1)
        self.assertRegex(refused.stdout, r"bob@elsewhere.test: 55\d")


class Postfix(Delivered):
    """send_mail against postfix, with STARTTLS and SASL."""

    def setUp(self):
        if os.geteuid() != 0 or not shutil.which("postfix") or not shutil.which("saslpasswd2"):
            self.skipTest("postfix and sasl2-bin are not installed, or we are not root")
        super().setUp()
        os.chmod(self.folder, 0o755)
        cert, key = self.certificate()
        self.port = free_port()
        for name in ("etc", "queue", "data", "box", "sasl", "etc/sasl"):
            os.mkdir(self.path(name))
        user = pwd.getpwnam("postfix")
        for name in ("data", "box"):
            os.chown(self.path(name), user.pw_uid, user.pw_gid)
        write(self.path("etc/sasl/smtpd.conf"),  # Debian's looks for it there
              "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN CRAM-MD5\n"
              f"sasldb_path: {self.path('sasl/db')}\n")
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", self.path("sasl/db"), "-u", "rill.test",
                        "ann"], input=PASSWORD.encode(), check=True)
        os.chown(self.path("sasl/db"), user.pw_uid, -1)
        write(self.path("etc/main.cf"), f"""
compatibility_level = 3.6
queue_directory = {self.path("queue")}
data_directory = {self.path("data")}
maillog_file = {self.path("log")}
maillog_file_prefixes = {self.folder}
myhostname = rill.test
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = rill.test
virtual_mailbox_base = {self.path("box")}
virtual_mailbox_maps = inline:{{ bob@rill.test=bob/, eve@rill.test=eve/ }}
virtual_uid_maps = static:{user.pw_uid}
virtual_gid_maps = static:{user.pw_gid}
virtual_minimum_uid = 1
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = rill.test
smtpd_recipient_restrictions = reject_unauth_destination, permit_sasl_authenticated, reject
biff = no
""")
        services = f"""
127.0.0.1:{self.port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
smtp unix - - n - - smtp
"""
        write(self.path("etc/master.cf"), services)
        postfix = ["postfix", "-c", self.path("etc")]
        started = subprocess.run([*postfix, "start"], capture_output=True, timeout=PATIENCE)
        self.assertEqual(started.returncode, 0, started)
        self.addCleanup(subprocess.run, [*postfix, "stop"], capture_output=True, timeout=PATIENCE)
        wait_for(lambda: accepts(self.port), "postfix")

    def test_everything_comes_into_the_mailboxes(self):
        cert, _ = self.certificate()
        login = ("--cacert", cert, "--user", "ann", "--password-file", self.secret)
        self.check_delivery(self.port, self.path("box/*/new/*"), *login)
        self.check_fields(self.port, *login)
        self.send(self.port, "--to", "bob@rill.test", "--starttls", "never", code=1)
        self.send(self.port, "--to", "bob@rill.test", "--cacert", cert, code=1)  # without AUTH
        write(self.secret, "guess")
        wrong = self.send(self.port, "--to", "bob@rill.test", *login, code=1)
        self.assertIn("AUTH: 535 5.7.8", wrong.stdout)


class Exim(Delivered):
    """send_mail against exim, which Debian does not install beside postfix."""

    def setUp(self):
        self.exim = shutil.which("exim4") or "/usr/sbin/exim4"
        if os.geteuid() != 0 or not os.path.exists(self.exim):
            self.skipTest("exim4 is not installed, or we are not root")
        super().setUp()
        os.chmod(self.folder, 0o755)
        cert, key = self.certificate()
        self.port = free_port()
        owner = pwd.getpwnam("mail")
        for name in ("box", "spool", "logs"):
            os.mkdir(self.path(name))
            os.chown(self.path(name), owner.pw_uid, owner.pw_gid)
        os.chown(key, owner.pw_uid, owner.pw_gid)
        write(self.path("exim.conf"), f"""
exim_path = {self.exim}
keep_environment =
deliver_drop_privilege = true
exim_user = mail
exim_group = mail
primary_hostname = rill.test
spool_directory = {self.path("spool")}
log_file_path = {self.path("logs")}/%slog
pid_file_path = {self.path("pid")}
local_interfaces = <; 127.0.0.1.{self.port}
tls_advertise_hosts = *
tls_certificate = {cert}
tls_privatekey = {key}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = check
acl_smtp_data = accept
never_users =
begin acl
check:
  deny !authenticated = *
  accept domains = rill.test
  deny message = not here
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  directory = {self.path("box")}/$local_part_data/new
  create_directory
  directory_file = $message_exim_id
  user = mail
  delivery_date_add
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and{{{{eq{{$auth2}}{{ann}}}}{{eq{{$auth3}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username: : Password:
  server_condition = ${{if and{{{{eq{{$auth1}}{{ann}}}}{{eq{{$auth2}}{{{PASSWORD}}}}}}}}}
  server_set_id = $auth1
""".replace("$local_part_data", "${lookup{$local_part}lsearch{" + self.path("names") + "}}"))
        write(self.path("names"), "bob: bob\neve: eve\n")
        with open(self.path("err"), "wb") as err:
            process = subprocess.Popen([self.exim, "-C", self.path("exim.conf"), "-bdf", "-q1h"],
                                       stdout=subprocess.DEVNULL, stderr=err)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        wait_for(lambda: accepts(self.port) or process.poll() is not None, "exim")
        self.assertIsNone(process.poll(), read(self.path("err")))

    def test_everything_comes_into_the_mailboxes(self):
        cert, _ = self.certificate()
        login = ("--cacert", cert, "--user", "ann", "--password-file", self.secret)
        self.check_delivery(self.port, self.path("box/*/new/*"), *login)
        self.check_fields(self.port, *login)


if __name__ == "__main__":
    FOLDER = sys.argv[1]
    outcome = unittest.main(argv=sys.argv[:1] + sys.argv[2:], exit=False).result
    if outcome.testsRun and len(outcome.skipped) == outcome.testsRun:
        sys.exit(77)
    sys.exit(not outcome.wasSuccessful())
