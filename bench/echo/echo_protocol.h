// The echo exchange as the load program sees it: what to send and whether the reply is right.
//
// A protocol for load_engine.h is any class with the members of this one; an HTTP mode is another
// such class. It does no I/O.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace bench {

enum class verdict { more, done, wrong };

// A message is a head that no other message shares (it starts with counter and connection) and a
// body that all messages share. Heads are always compared; bodies once in `sample_period` messages,
// because comparing every byte would cost more than the echo itself. A message of up to 64 bytes is
// all head, so that it goes out in one piece.
class echo_protocol {
 public:
  static constexpr std::size_t head_size = 64;
  static constexpr std::uint64_t sample_period = 64;
  static constexpr std::size_t drop_size_min = 16 * 1024;

  struct exchange {
    std::array<char, head_size> head{};
    std::uint64_t counter = 0;
    std::size_t received = 0;
  };

  explicit echo_protocol(std::size_t message_size) : body_(message_size) {
    for (std::size_t i = 0; i < body_.size(); ++i) body_[i] = static_cast<char>('!' + i % 89);
  }

  std::size_t request_size() const { return body_.size(); }

  void start(exchange& state, std::uint64_t connection) const {
    ++state.counter;
    state.received = 0;
    std::uint64_t stamp[2] = {state.counter, ~connection};
    std::memcpy(state.head.data(), stamp, sizeof stamp);
  }

  // The request from byte `offset` on: at most two pieces, returns how many.
  int request(exchange& state, std::size_t offset, iovec* pieces) {
    int count = 0;
    std::size_t head_end = std::min(head_size, body_.size());
    if (offset < head_end) {
      pieces[count++] = {state.head.data() + offset, head_end - offset};
      offset = head_end;
    }
    if (offset < body_.size()) {
      pieces[count++] = {body_.data() + offset, body_.size() - offset};
    }
    return count;
  }

  // How many of the next reply bytes must be looked at; when none, the engine lets the kernel drop
  // the rest without copying it. For small messages that would cost more than it saves.
  std::size_t must_see(const exchange& state) const {
    if (body_.size() < drop_size_min || state.counter % sample_period == 0) return body_.size();
    return state.received < head_size ? head_size - state.received : 0;
  }
  std::size_t missing(const exchange& state) const { return body_.size() - state.received; }
  void dropped(exchange& state, std::size_t size) const { state.received += size; }
  bool complete(const exchange& state) const { return state.received == body_.size(); }

  verdict reply(exchange& state, const char* data, std::size_t size) const {
    if (size > body_.size() - state.received) return verdict::wrong;
    if (state.received < head_size) {
      std::size_t in_head = std::min(size, head_size - state.received);
      if (std::memcmp(data, state.head.data() + state.received, in_head) != 0) {
        return verdict::wrong;
      }
      state.received += in_head;
      data += in_head;
      size -= in_head;
    }
    if (state.counter % sample_period == 0 && size > 0 &&
        std::memcmp(data, body_.data() + state.received, size) != 0) {
      return verdict::wrong;
    }
    state.received += size;
    return complete(state) ? verdict::done : verdict::more;
  }

 private:
  std::vector<char> body_;
};

}  // namespace bench
