// Sending in order, and finding out what became of it. See outbox.h.
#include <rill/protocols/nats/outbox.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>

#include <rill/protocols/nats/client_core.h>
#include <rill/runtime/sleep.h>

namespace rill::nats {
namespace {

/// Whether a question is worth being asked again: everything but a refusal and the client's end.
bool is_passing(const io_error& failed) noexcept {
  const std::error_code& code = failed.code();
  if (code == nats_error::closed) return false;
  const auto* const refused = dynamic_cast<const api_error*>(&failed);
  return refused == nullptr || refused->status() >= 500;
}

/// Whether a header gives back what it was given: only then can the message be found by it.
bool is_kept(const std::string& message_id) {
  constexpr const char* name = "Nats-Msg-Id";
  return headers().add(name, message_id).find(name) == message_id;
}

}  // namespace

outbox::outbox(jetstream over, std::string stream, const outbox_limits& limits)
    : over_(std::move(over)), stream_(std::move(stream)), limits_(limits) {}

bool outbox::push(std::string subject, std::string payload, std::string message_id) {
  // Here, where it is the caller's error: in run() it would be everybody's.
  if (!message_id.empty() && !is_kept(message_id)) {
    throw std::invalid_argument("nats: the id of a message is malformed");
  }
  const std::size_t size = subject.size() + payload.size();
  if (closed_ || waiting_.size() >= limits_.count_max ||
      size > limits_.size_max - std::min(waiting_size_, limits_.size_max)) {
    return false;
  }
  if (message_id.empty()) message_id = detail::random_name();
  waiting_.emplace_back(std::move(subject), std::move(payload), std::move(message_id));
  waiting_size_ += size;
  changed_.set();
  return true;
}

void outbox::close() noexcept {
  closed_ = true;
  changed_.set();
}

task<> outbox::run() {
  for (;;) {
    while (waiting_.empty()) {
      if (closed_) co_return;
      changed_.reset();
      co_await changed_.wait();
    }
    co_await send_first();
    const held& first = waiting_.front();
    waiting_size_ -= first.subject.size() + first.payload.size();
    waiting_.pop_front();
  }
}

/// Whether the message stands behind `last_`; asks until it is known, or JetStream refuses to tell.
task<bool> outbox::stands(std::string subject, std::string message_id, std::error_code& refused) {
  constexpr std::chrono::milliseconds between(200);
  for (;;) {
    try {
      const auto found =
          co_await over_.find_id(stream_, subject, message_id, last_.value_or(0) + 1);
      if (found) last_ = found;
      co_return found.has_value();
    } catch (const io_error& failed) {
      if (failed.code() == nats_error::closed) throw;
      if (!is_passing(failed)) refused = failed.code();
    }
    if (refused) co_return false;
    co_await sleep_for(between);
  }
}

task<> outbox::send_first() {
  constexpr std::chrono::milliseconds between(200);
  const held& first = waiting_.front();
  publish_options how;
  how.message_id = first.message_id;
  how.expected_stream = stream_;
  for (;;) {
    bool is_unknown = false;
    std::error_code refused;
    try {
      if (!last_) {
        const stream_info now = co_await over_.stream(stream_);
        last_ = now.last_sequence;
      }
      const publish_ack kept = co_await over_.publish(first.subject, first.payload, how);
      last_ = kept.sequence;
      ++sent_count_;
      co_return;
    } catch (const api_error& failed) {
      if (!is_passing(failed)) refused = failed.code();
    } catch (const io_error& failed) {
      if (failed.code() == nats_error::closed) throw;
      if (failed.code() == nats_error::bad_subject ||
          failed.code() == nats_error::payload_too_large) {
        refused = failed.code();
      }
      is_unknown = failed.code() == nats_error::outcome_unknown;
    }
    if (is_unknown) {
      const bool is_there = co_await stands(first.subject, first.message_id, refused);
      if (is_there) {
        ++sent_count_;
        co_return;
      }
    }
    if (refused) {
      if (on_refused) on_refused(first.subject, refused);
      co_return;
    }
    co_await sleep_for(between);
  }
}

}  // namespace rill::nats
