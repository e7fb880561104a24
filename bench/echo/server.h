// What the peer echo servers of this bench share: options, the listening socket, the ready line.
//
// Not a library and no part of rill: plain POSIX calls, so that each server can show its own way of
// doing I/O and nothing else. SIGTERM ends every one of them by its default action.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <CLI/CLI.hpp>

namespace bench {

[[noreturn]] inline void die(const char* what, int error) {
  std::fprintf(stderr, "error: %s: %s\n", what, std::strerror(error));
  std::exit(1);
}

// A kernel call that must succeed: returns its result or ends the program with its name.
inline int must(int result, const char* what) {
  if (result < 0) die(what, errno);
  return result;
}

// A connection is a descriptor, and the soft limit of 1,024 would end every larger measurement.
inline int raise_descriptor_limit() {
  rlimit limit{};
  must(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  must(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
  return static_cast<int>(limit.rlim_cur);
}

inline void set_no_delay(int descriptor) {
  int on = 1;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// `type_flags` is SOCK_NONBLOCK for the loops. TCP_NODELAY set here is inherited by every accepted
// socket (Linux), which saves a system call for each connection.
inline int listen_on_loopback(std::uint16_t port, int type_flags = 0) {
  int listener = must(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | type_flags, 0), "socket");
  int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  set_no_delay(listener);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
  must(::listen(listener, 4096), "listen");
  return listener;
}

// The one line that the measuring script waits for.
inline void announce_ready(unsigned port) {
  std::printf("ready: tcp 127.0.0.1:%u\n", port);
  std::fflush(stdout);
}

inline void announce_ready_socket(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  must(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  announce_ready(ntohs(address.sin_port));
}

// A thread for each connection, which gets its descriptor as a pointer's value and closes it.
[[noreturn]] inline void serve_by_threads(int listener, std::size_t stack_size,
                                          void* (*body)(void*)) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_size);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  for (;;) {
    int descriptor = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (descriptor < 0) continue;
    pthread_t thread;
    void* argument = reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor));
    int error = pthread_create(&thread, &attributes, body, argument);
    if (error != 0) {
      std::fprintf(stderr, "error: pthread_create: %s\n", std::strerror(error));
      ::close(descriptor);
    }
  }
}

// Parses, or prints the usage and ends the program.
inline void parse_or_exit(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  }
}

}  // namespace bench
