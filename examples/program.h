// What the example programs share: durations and the kernel on the command line, limits, the ready
// lines.
// Not here: anything about rill worth learning; that is in the programs.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include <CLI/CLI.hpp>

#include <rill/net/endpoint.h>
#include <rill/net/listen.h>

namespace program {

/// "500ms", "2s", "5m", "1h". Throws CLI::ValidationError for anything else.
inline std::chrono::milliseconds parse_duration(const std::string& text) {
  long long count = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, count);
  const std::string unit(rest, end);
  long long factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s") factor = 1000;
  if (unit == "m") factor = 60'000;
  if (unit == "h") factor = 3'600'000;
  // Ten years are as good as for ever, and far from the end of the clock.
  if (status != std::errc() || factor == 0 || count < 0 || count > 315'360'000'000 / factor) {
    throw CLI::ValidationError("'" + text + "' is no duration; write 500ms, 2s, 5m or 1h");
  }
  return std::chrono::milliseconds(count * factor);
}

inline CLI::Option* add_duration(CLI::App& app, const std::string& name,
                                 std::chrono::milliseconds& value, const std::string& help) {
  return app.add_option_function<std::string>(
      name, [&value](const std::string& text) { value = parse_duration(text); }, help);
}

/// Throws CLI::ValidationError for what is no whole number that fits, also for nothing and for -1.
template <class Number>
Number parse_number(const std::string& name, const std::string& text) {
  static_assert(std::is_unsigned_v<Number>);
  Number value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status == std::errc() && rest == end) return value;
  throw CLI::ValidationError(name, "'" + text + "' is no number from 0 to " +
                                       std::to_string(std::numeric_limits<Number>::max()));
}

template <class Number>
CLI::Option* add_number(CLI::App& app, const std::string& name, Number& value,
                        const std::string& help) {
  return app.add_option_function<std::string>(
      name, [&value, name](const std::string& text) { value = parse_number<Number>(name, text); },
      help);
}

/// --host, on which a server listens. The empty name, which means every interface, must be meant.
inline void add_host(CLI::App& app, std::string& host, const std::string& help) {
  app.add_option("--host", host, help)->check([](const std::string& text) {
    return std::string(text.empty() ? "is empty; write 0.0.0.0 or :: for every interface" : "");
  });
}

/// Prints a client's answer. Throws if it cannot be printed, as to a full disk or a closed pipe.
inline void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw std::system_error(errno, std::system_category(), "write to the standard output");
  }
}

/// --kernel, for rill::run_options::kernel.
inline void add_kernel(CLI::App& app, std::string& kernel) {
  app.add_option("--kernel", kernel, "auto, uring or epoll (auto: $RILL_KERNEL, or what works)")
      ->check(CLI::IsMember({"auto", "uring", "epoll"}));
}

/// How many descriptors this process may have, after asking for as many as it is allowed.
inline std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(limit.rlim_cur);
}

/// Connections for which descriptors are left, with some kept for everything else: rings, event
/// and signal descriptors, listeners, files, and what a listener accepts before its pause takes
/// effect, 64 connections and the few that come meanwhile.
inline std::size_t default_connection_max(unsigned thread_count) {
  const std::size_t descriptor_max = raise_descriptor_limit();
  const std::size_t kept = 32 + 96 * std::size_t{thread_count};
  return descriptor_max > 2 * kept ? descriptor_max - kept : descriptor_max / 2;
}

/// "ready: tcp 127.0.0.1:8888", one line for each address.
inline std::string ready_lines(const char* kind, const std::vector<rill::endpoint>& locals) {
  std::string lines;
  for (const rill::endpoint& local : locals) {
    lines += std::string("ready: ") + kind + ' ' + local.to_string() + '\n';
  }
  return lines;
}

/// All of it in one write, so that whoever waits for it sees all or nothing. Before it, on stderr,
/// what systemd has handed over and nobody has taken: a unit's file and our options do not agree.
inline void announce(const std::string& lines) {
  for (const rill::activated_socket& each : rill::activated_listeners()) {
    std::fprintf(stderr, "a socket that was handed over is not used: %s, %s\n", each.name().c_str(),
                 each.local().to_string().c_str());
  }
  print(lines);
}

/// Parses the command line, or prints the usage or, in one line, the mistake, and ends the program:
/// 0 or 1.
inline void parse_or_exit(CLI::App& app, int argc, char** argv) {
  app.failure_message([](const CLI::App* of, const CLI::Error& error) {
    return of->get_name() + ": " + error.what() + " (--help lists the options)\n";
  });
  const std::string path(argc > 0 ? argv[0] : "");
  app.name(path.substr(path.rfind('/') + 1));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 1);
  }
}

}  // namespace program
