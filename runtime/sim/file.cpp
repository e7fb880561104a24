// Trying, waiting, trying again. See file.h.
#include <rill/runtime/sim/file.h>

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <rill/runtime/sim/kernel.h>
#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

bool is_writing(const request& asked) noexcept {
  return asked.opcode == IORING_OP_SEND || asked.opcode == IORING_OP_SENDMSG ||
         asked.opcode == IORING_OP_SEND_ZC || asked.opcode == IORING_OP_WRITE ||
         asked.opcode == IORING_OP_CONNECT;
}

}  // namespace

void request::expired() noexcept { owner->disk_is_done(*this); }

void request_list::append(request& added) noexcept {
  added.waits_in = this;
  added.wait_next = nullptr;
  added.wait_previous = last_;
  (last_ == nullptr ? first_ : last_->wait_next) = &added;
  last_ = &added;
}

void request_list::remove(request& gone) noexcept {
  (gone.wait_previous == nullptr ? first_ : gone.wait_previous->wait_next) = gone.wait_next;
  (gone.wait_next == nullptr ? last_ : gone.wait_next->wait_previous) = gone.wait_previous;
  gone.waits_in = nullptr;
}

void scatter(const std::vector<iovec>& pieces, std::size_t skipped, const std::byte* from,
             std::size_t size) noexcept {
  for (const iovec& piece : pieces) {
    if (size == 0) return;
    if (skipped >= piece.iov_len) {
      skipped -= piece.iov_len;
      continue;
    }
    const std::size_t part = std::min(size, piece.iov_len - skipped);
    std::memcpy(static_cast<std::byte*>(piece.iov_base) + skipped, from, part);
    skipped = 0;
    from += part;
    size -= part;
  }
}

progress file::attempt_any(request& tried) {
  return tried.opcode == IORING_OP_POLL_ADD ? poll(tried) : attempt(tried);
}

void file::submit(request& started) {
  // The request may hold the last reference to this file.
  const std::shared_ptr<file> self = shared_from_this();
  if (attempt_any(started) == progress::finished) return;
  if ((started.flags & MSG_DONTWAIT) != 0 && started.opcode != IORING_OP_POLL_ADD &&
      started.opcode != IORING_OP_ACCEPT) {
    const int result = started.done != 0 ? static_cast<int>(started.done) : -EAGAIN;
    started.owner->finish(started, result);
    return;
  }
  request_list& list = started.opcode == IORING_OP_POLL_ADD ? pollers_
                       : is_writing(started)                ? writers_
                                                            : readers_;
  list.append(started);
}

void file::retry(request_list& waiting, bool& busy) {
  // What one request does at the other end of a Unix socket may come back here.
  if (std::exchange(busy, true)) return;
  for (request* each = waiting.first(); each != nullptr;) {
    request* const next = each->wait_next;
    const bool has_ended = attempt(*each) == progress::finished;
    if (keeps_order() && !has_ended) break;
    each = keeps_order() ? waiting.first() : next;
  }
  busy = false;
}

void file::changed(bool readable, bool writable) {
  const std::shared_ptr<file> self = shared_from_this();
  if (readable) retry(readers_, readers_busy_);
  if (writable) retry(writers_, writers_busy_);
  for (request* each = pollers_.first(); each != nullptr;) {
    request* const next = each->wait_next;
    poll(*each);
    each = next;
  }
}

progress file::poll(request& tried) {
  const unsigned events = poll_state() & (tried.flags | rill::detail::always_polled);
  if (events == 0) return progress::would_block;
  const bool multishot = (tried.size & IORING_POLL_ADD_MULTI) != 0;
  if (multishot && tried.owner->post_more(tried, static_cast<int>(events), 0)) {
    return progress::would_block;
  }
  tried.owner->finish(tried, static_cast<int>(events));
  return progress::finished;
}

}  // namespace rill::sim::detail
