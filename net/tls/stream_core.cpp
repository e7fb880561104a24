// What reading and writing have in common over all transports. See stream_core.h.
#include <rill/net/tls/stream_core.h>

namespace rill::tls::detail {

bool core_base::can_read() noexcept {
  if (is_closed) return true;
  const bool can = engine.can_read();
  if (!engine.has_input()) input.release();
  return can || read_failure.has_value();
}

bool core_base::received(result<lease> came, bool may_time_out) noexcept {
  if (!came && came.error().is_timeout() && may_time_out) return false;
  if (!came) {
    read_failure = error(came.error().code(), "read", came.error().is_timeout());
  } else if (came->empty()) {
    read_failure = error(tls_error::truncated, "read");
  } else {
    input = std::move(*came);
    engine.set_input(input);
  }
  return true;
}

error core_base::failure(const char* operation) const noexcept {
  if (is_closed) return error::from_errno(ECANCELED, operation);
  if (engine.failure()) return {engine.failure(), operation};
  return *read_failure;
}

result<std::size_t> core_base::read(mutable_buffer into) {
  if (into.empty()) return 0;
  if (is_closed) return tl::unexpected(failure("read"));
  const std::size_t size = engine.read(into);
  if (!engine.has_input()) input.release();
  if (size != 0 || (engine.has_ended() && !engine.failure())) return size;
  return tl::unexpected(failure("read"));
}

result<lease> core_base::read_lease() {
  const std::size_t size = is_closed ? 0 : engine.readable_size();
  if (size == 0) {
    std::byte none;
    const result<std::size_t> end = read(mutable_buffer(&none, 1));
    if (!end) return tl::unexpected(end.error());
    return lease();
  }
  // A small buffer, unless what is at hand needs more; all that fits is taken.
  buffer_pool& pool = on->buffers();
  const bool is_large = size + engine.input_size() > pool.buffer_size(buffer_pool::small_group);
  const unsigned group = is_large ? buffer_pool::large_group : buffer_pool::small_group;
  lease taken;
  std::size_t came = 0;
  if (pool.can_take(group)) {
    const std::uint16_t id = pool.take(group);
    came = engine.read({pool.address(group, id), pool.buffer_size(group)});
    taken = pool.lend(group, id, 0, came);
  } else {
    std::byte* const memory = pool.allocate_private(size);
    came = engine.read({memory, size});
    taken = pool.lend_private(memory, came);
  }
  if (!engine.has_input()) input.release();
  if (came == 0) return tl::unexpected(failure("read"));
  return taken;
}

std::optional<error> core_base::write_obstacle() const noexcept {
  if (is_closed) return error::from_errno(ECANCELED, "write");
  if (write_failure) return write_failure;
  if (engine.failure()) return error(engine.failure(), "write");
  if (has_shut_down) return error::from_errno(EPIPE, "write");
  return std::nullopt;
}

}  // namespace rill::tls::detail
