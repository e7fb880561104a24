// Sends one message over TCP, tries again when that fails, and says what went wrong each time.
//
//   build/release/bin/robust_client localhost 8888 'Hello Server!'      Success: Hello Server!
//   build/release/bin/robust_client localhost 1 hello
//     Attempt 1: Connection refused
//     Retrying in 1 seconds...
//     ... and at the end: Failed to communicate with server
//
// The exit code is 0 after a success and 1 after none. Not here: a client that tries again only
// what is worth it, with longer delays each time: that is what retry() does unless it is told
// otherwise.
#include <netdb.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <system_error>

#include "program.h"
#include <rill/net/connect.h>
#include <rill/net/retry.h>
#include <rill/runtime/run.h>
#include <rill/runtime/timeout.h>

namespace {

struct options {
  std::string host;
  std::string port;
  std::string message;
  unsigned attempts = 3;
  std::chrono::milliseconds retry_delay = std::chrono::seconds(1);
  std::chrono::milliseconds timeout = std::chrono::seconds(5);
  std::string kernel = "auto";
};

/// One attempt. However it ends, the connection is closed with its stream.
rill::task<std::string> ask(const options& chosen) {
  rill::connect_options how;
  how.timeout = chosen.timeout;
  rill::tcp_stream server = co_await rill::connect(chosen.host, chosen.port, how);
  co_await rill::with_timeout(chosen.timeout, server.write_all(chosen.message));
  std::string reply(1024, ' ');
  reply.resize(
      co_await rill::with_timeout(chosen.timeout, server.read(rill::mutable_buffer(reply))));
  co_return reply;
}

/// As Python says it: the resolver's number and words.
std::string words_for_resolution(const std::error_code& code) {
  int number = EAI_AGAIN;
  if (code == rill::resolve_error::name_not_found) number = EAI_NONAME;
  if (code == rill::resolve_error::invalid_name) number = EAI_NONAME;
  if (code == rill::resolve_error::no_address) number = EAI_NODATA;
  if (code == std::errc::invalid_argument) number = EAI_SERVICE;
  return "[Errno " + std::to_string(number) + "] " + ::gai_strerror(number);
}

std::string words_for(const std::exception& error) {
  const auto* const failure = dynamic_cast<const rill::io_error*>(&error);
  if (failure == nullptr) return std::string("Unexpected error: ") + error.what();
  const std::error_code& code = failure->code();
  // First: a name server that is silent is a matter of the name, not of the server that has it.
  if (failure->operation() == "resolve") {
    return "Address resolution failed: " + words_for_resolution(code);
  }
  if (code == std::errc::timed_out) return "Connection timed out";
  if (code == std::errc::connection_refused) return "Connection refused";
  return "Unexpected error: [Errno " + std::to_string(code.value()) + "] " + code.message();
}

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);  // it is news now, not when the buffer is full
}

rill::task<int> robust_client(const options& chosen) {
  rill::retry_policy policy;
  policy.limits.attempt_count_max = chosen.attempts;
  policy.limits.delay = chosen.retry_delay;
  policy.limits.delay_max = chosen.retry_delay;  // always the same
  policy.limits.jitter = 0;
  policy.is_worth_another = nullptr;  // everything
  policy.on_failure = [&](const rill::failed_attempt& failed) {
    say("Attempt " + std::to_string(failed.number) + ": " + words_for(failed.error));
    if (!failed.delay) return;
    char seconds[32];
    std::snprintf(seconds, sizeof(seconds), "%.10g",
                  std::chrono::duration<double>(*failed.delay).count());
    say(std::string("Retrying in ") + seconds + " seconds...");
  };
  std::string reply;
  try {
    reply = co_await rill::retry(policy, [&] { return ask(chosen); });
  } catch (const std::exception&) {
    // It has been told.
  }
  // A server that has nothing to say has not been communicated with.
  say(reply.empty() ? "Failed to communicate with server" : "Success: " + reply);
  co_return reply.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  options chosen;
  CLI::App app("Sends MESSAGE to a TCP server and prints the reply; tries again if that fails.");
  app.add_option("HOST", chosen.host, "name or address")->required();
  app.add_option("PORT", chosen.port, "port number or service name")->required();
  app.add_option("MESSAGE", chosen.message, "what to send")->required();
  app.add_option("--retries", chosen.attempts, "attempts, the first included (3)")
      ->check(CLI::Range(1U, 1'000'000U));
  program::add_duration(app, "--retry-delay", chosen.retry_delay, "between two attempts (1s)");
  program::add_duration(app, "--timeout", chosen.timeout, "of each step of an attempt (5s)");
  program::add_kernel(app, chosen.kernel);
  program::parse_or_exit(app, argc, argv);

  rill::run_options how;
  how.kernel = chosen.kernel;
  return rill::run(how, robust_client, std::cref(chosen));
}
