// The other implementation at hand: `openssl s_server` and `openssl s_client` as processes.
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/files.h"
#include "support/streams.h"
#include "tls/handshake.h"
#include <rill/net/tcp.h>
#include <rill/runtime/blocking.h>
#include <rill/runtime/nursery.h>

namespace rill::test {
namespace {

using testing::HasSubstr;

/// A program with its standard input and output; it ends with this object.
class openssl_process {
 public:
  explicit openssl_process(std::vector<std::string> arguments) {
    int to[2];
    int from[2];
    if (::pipe2(to, O_CLOEXEC) != 0 || ::pipe2(from, O_CLOEXEC) != 0) std::abort();
    arguments.insert(arguments.begin(), "openssl");
    std::vector<char*> words;
    for (std::string& each : arguments) words.push_back(each.data());
    words.push_back(nullptr);
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(to[0], STDIN_FILENO);
      ::dup2(from[1], STDOUT_FILENO);
      ::dup2(from[1], STDERR_FILENO);
      ::execvp("openssl", words.data());
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    stdin_ = to[1];
    stdout_ = from[0];
  }
  openssl_process(const openssl_process&) = delete;
  openssl_process& operator=(const openssl_process&) = delete;
  ~openssl_process() {
    close_input();
    ::close(stdout_);
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  void say(std::string_view text) const {
    EXPECT_EQ(::write(stdin_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void close_input() {
    if (stdin_ >= 0) ::close(std::exchange(stdin_, -1));
  }
  /// What it has said until `text` comes, or all of it until its end, or for 20 seconds.
  std::string said_until(std::string_view text) {
    while (said_.find(text) == said_.npos) {
      pollfd ready{stdout_, POLLIN, 0};
      char room[4096];
      if (::poll(&ready, 1, 20'000) <= 0) break;
      const ssize_t size = ::read(stdout_, room, sizeof(room));
      if (size <= 0) break;
      said_.append(room, static_cast<std::size_t>(size));
    }
    return said_;
  }

 private:
  pid_t process_ = 0;
  int stdin_ = -1;
  int stdout_ = -1;
  std::string said_;
};

class tls_interop : public testing::Test {
 protected:
  tls_interop()
      : chain_(folder_.made("chain.pem", test_certificate().pem())),
        key_(folder_.made("key.pem", test_certificate().key_pem())),
        authority_(folder_.made("authority.pem", test_authority().pem())) {}

  std::vector<std::string> server_with(std::vector<std::string> more) const {
    std::vector<std::string> words{"s_server", "-accept", "127.0.0.1:0", "-cert",
                                   chain_,     "-key",    key_};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// Where s_server has said that it listens: "ACCEPT 127.0.0.1:40001".
  static endpoint port_of(openssl_process& server) {
    server.said_until("ACCEPT");
    const std::string said = server.said_until("\n");
    const std::size_t at = said.find("ACCEPT ");
    const std::string where = said.substr(at + 7, said.find('\n', at) - at - 7);
    return endpoint::parse(where).value();
  }

  temporary_folder folder_;
  std::string chain_;
  std::string key_;
  std::string authority_;
};

TEST_F(tls_interop, we_are_a_client_of_openssl) {
  for (const char* const version : {"-tls1_2", "-tls1_3"}) {
    openssl_process server(server_with({version, "-rev", "-alpn", "test/1"}));
    const endpoint where = port_of(server);
    run_loop([&]() -> task<> {
      tls::client_options options = trusting_options();
      options.protocols = {"test/1"};
      const tls::client_context trusted(options);
      for (const bool is_again : {false, true}) {
        auto below = co_await tcp_stream::connect(where);
        auto secure = co_await tls::connect(std::move(below), trusted, std::string("server.test"));
        EXPECT_EQ(secure.protocol(), "test/1");
        EXPECT_EQ(secure.is_resumed(), is_again) << version;
        co_await secure.write_all("hello\n");
        const std::string answer = co_await read_text(secure, 6);
        EXPECT_EQ(answer, "olleh\n");
        co_await secure.close();
      }
    });
  }
}

TEST_F(tls_interop, we_show_openssl_our_certificate) {
  openssl_process server(
      server_with({"-Verify", "1", "-verify_return_error", "-CAfile", authority_, "-rev"}));
  const endpoint where = port_of(server);
  run_loop([&]() -> task<> {
    certificate_text text;
    text.common_name = "alice";
    const signed_certificate alice(text, &test_authority());
    const tls::client_context known(trusting_options(), alice.loaded());
    auto below = co_await tcp_stream::connect(where);
    auto secure = co_await tls::connect(std::move(below), known, std::string("server.test"));
    co_await secure.write_all("hello\n");
    const std::string answer = co_await read_text(secure, 6);
    EXPECT_EQ(answer, "olleh\n");
    co_await secure.close();

    auto another = co_await tcp_stream::connect(where);
    std::error_code refused;
    try {
      auto anonymous =
          co_await tls::connect(std::move(another), trusting(), std::string("server.test"));
      co_await anonymous.read_lease();
    } catch (const io_error& error) {
      refused = error.code();
    }
    EXPECT_EQ(refused, tls::tls_error::alert_certificate_required);
  });
}

/// Echoes the first line of each client, for `count` clients.
task<> echo_lines(tcp_listener& listener, tls::server_context mine, int count,
                  std::vector<bool>& resumed) {
  for (int i = 0; i < count; ++i) {
    auto below = co_await listener.accept();
    try {
      auto secure = co_await tls::accept(std::move(below), mine);
      resumed.push_back(secure.is_resumed());
      while (lease bytes = co_await secure.read_lease()) co_await secure.write_all(bytes);
      co_await secure.close();
    } catch (const io_error&) {
      // The client says why.
    }
  }
}

TEST_F(tls_interop, openssl_is_a_client_of_ours) {
  for (const char* const version : {"-tls1_2", "-tls1_3"}) {
    const std::string session = folder_.path("session");
    std::vector<bool> resumed;
    run_loop([&]() -> task<> {
      tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
      const std::string where = listener.local().to_string();
      std::string said[2];
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> { co_await echo_lines(listener, serving(), 2, resumed); });
        for (const int round : {0, 1}) {
          std::vector<std::string> words{"s_client",    "-connect",
                                         where,         "-servername",
                                         "server.test", "-CAfile",
                                         authority_,    "-verify_hostname",
                                         "server.test", "-verify_return_error",
                                         "-ign_eof",    version};
          words.push_back(round == 0 ? "-sess_out" : "-sess_in");
          words.push_back(session);
          co_await run_blocking([&] {
            openssl_process client(words);
            client.said_until("Verify return code: 0 (ok)");
            client.say("echo this\n");
            said[round] = client.said_until("\necho this\n");
          });
        }
      });
      for (const std::string& each : said) {
        EXPECT_THAT(each, HasSubstr("Verify return code: 0 (ok)"));
        EXPECT_THAT(each, HasSubstr("echo this"));
      }
    });
    EXPECT_EQ(resumed, (std::vector<bool>{false, true})) << version;
  }
}

TEST_F(tls_interop, old_versions_and_ciphers_of_openssl_are_refused) {
  run_loop([&]() -> task<> {
    tcp_listener listener = tcp_listener::bind(endpoint(address::loopback_v4(), 0));
    const std::string where = listener.local().to_string();
    const auto refusal_of = [&](std::vector<std::string> more) -> task<std::string> {
      std::string refusal;
      co_await with_nursery([&](nursery& tasks) -> task<> {
        tasks.start([&]() -> task<> {
          auto below = co_await listener.accept();
          try {
            co_await tls::accept(std::move(below), serving());
          } catch (const io_error& error) {
            refusal = error.code().message();
          }
        });
        std::vector<std::string> words{"s_client", "-connect", where};
        words.insert(words.end(), more.begin(), more.end());
        co_await run_blocking([&] { openssl_process(words).said_until("no such text"); });
      });
      co_return refusal;
    };
    const std::vector<std::string> old_version{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"};
    std::string said = co_await refusal_of(old_version);
    EXPECT_EQ(said, "no version of TLS in common");
    const std::vector<std::string> no_forward_secrecy{"-tls1_2", "-cipher", "AES128-SHA"};
    said = co_await refusal_of(no_forward_secrecy);
    EXPECT_EQ(said, "no cipher, group or signature algorithm in common");
  });
}

}  // namespace
}  // namespace rill::test
