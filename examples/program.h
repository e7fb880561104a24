// What the example programs share: durations and the kernel on the command line, limits, the ready
// lines.
// Not here: anything about rill worth learning; that is in the programs.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include <CLI/CLI.hpp>

#include <rill/net/endpoint.h>

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

/// All of it in one write, so that whoever waits for it sees all or nothing.
inline void announce(const std::string& lines) {
  std::fwrite(lines.data(), 1, lines.size(), stdout);
  std::fflush(stdout);
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
