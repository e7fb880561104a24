// Keeping and finding sessions: linear, for there are some hundreds at most. See session_cache.h.
#include <rill/net/tls/session_cache.h>

#include <iterator>
#include <new>
#include <utility>

namespace rill::tls::detail {

void session_cache::put(std::string_view host, session_ptr session, std::int64_t expiry) noexcept {
  if (count_max_ == 0) return;
  try {
    std::list<entry> made;
    made.push_back({std::string(host), std::move(session), expiry});
    const std::lock_guard held(lock_);
    newest_first_.splice(newest_first_.begin(), made);
    if (newest_first_.size() > count_max_) newest_first_.pop_back();
  } catch (const std::bad_alloc&) {
    // The next connection makes a full handshake.
  }
}

session_ptr session_cache::take(std::string_view host, std::int64_t now) noexcept {
  const std::lock_guard held(lock_);
  for (auto each = newest_first_.begin(); each != newest_first_.end();) {
    if (each->expiry <= now) {
      each = newest_first_.erase(each);
      continue;
    }
    if (each->host != host) {
      ++each;
      continue;
    }
    if (SSL_SESSION_get_protocol_version(each->session.get()) >= TLS1_3_VERSION) {
      session_ptr taken = std::move(each->session);
      newest_first_.erase(each);
      return taken;
    }
    SSL_SESSION_up_ref(each->session.get());
    return session_ptr(each->session.get());
  }
  return nullptr;
}

std::size_t session_cache::size() const {
  const std::lock_guard held(lock_);
  return newest_first_.size();
}

}  // namespace rill::tls::detail
