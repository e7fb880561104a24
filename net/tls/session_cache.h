// Sessions that a client may resume: what servers have given it, by the name they were given under.
// Bounded, and shared by all loops that use one client_context. Not for servers, which keep
// nothing: their sessions travel in tickets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>

#include <rill/net/tls/library.h>

namespace rill::tls::detail {

class session_cache {
 public:
  /// `count_max` sessions at most; the oldest goes first. 0: none are kept.
  explicit session_cache(std::size_t count_max) : count_max_(count_max) {}

  /// Keeps a session with `host` until `expiry`, in seconds of wall_seconds(). Without memory for
  /// it, it is not kept.
  void put(std::string_view host, session_ptr session, std::int64_t expiry) noexcept;
  /// The newest session with `host` that has not expired, or nullptr. A session of TLS 1.3 is given
  /// once: a second connection with the same ticket could be told to belong to the same client
  /// (RFC 8446 appendix C.4).
  session_ptr take(std::string_view host, std::int64_t now) noexcept;
  std::size_t size() const;

 private:
  struct entry {
    std::string host;
    session_ptr session;
    std::int64_t expiry;
  };

  mutable std::mutex lock_;
  std::list<entry> newest_first_;
  std::size_t count_max_;
};

}  // namespace rill::tls::detail
