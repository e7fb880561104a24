// What stands behind the contexts of context.h: OpenSSL's, and what its callbacks look at.
// Read next: context.cpp.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <rill/net/tls/context.h>
#include <rill/net/tls/library.h>
#include <rill/net/tls/session_cache.h>
#include <rill/net/tls/ticket_keys.h>

namespace rill::tls::detail {

struct certificate_state {
  x509_ptr own;
  key_ptr key;
  x509_stack_ptr chain;  // those above `own`
};
using shared_certificate = std::shared_ptr<const certificate_state>;

struct client_state {
  explicit client_state(const client_options& options, const certificate_state* own);

  bool verify;
  session_cache sessions;
  ssl_ctx_ptr context;
};

/// A server's certificates between two reloads. Handshakes hold it. Never changes, but for the keys
/// of its tickets.
struct server_generation {
  server_generation(const server_options& options, std::vector<shared_certificate> all);

  std::vector<shared_certificate> certificates;
  std::string protocols;  // as ALPN has them on the wire
  bool refuse_unknown_names;
  mutable ticket_keys tickets;
  ssl_ctx_ptr context;
};

struct server_state {
  /// Where a certificate comes from; without paths, from memory.
  struct source {
    shared_certificate certificate;
    std::string chain_path;
    std::string key_path;
  };

  server_state(const server_options& made_with, source first);
  std::shared_ptr<const server_generation> current();
  /// What `change` makes of the sources is used from now on. If it throws, nothing has changed.
  template <class Change>
  void update(Change change) {
    const std::lock_guard held(lock);
    std::vector<source> changed = sources;
    change(changed);
    generation = generation_of(changed);
    sources = std::move(changed);
  }

  std::mutex lock;
  const server_options options;
  std::vector<source> sources;
  std::shared_ptr<const server_generation> generation;

 private:
  std::shared_ptr<const server_generation> generation_of(const std::vector<source>& all) const;
};

}  // namespace rill::tls::detail
