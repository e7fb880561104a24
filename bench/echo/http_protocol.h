// The exchange of the load program over HTTP: `pipeline` requests at once, and their answers.
//
// It does little else than count: the length of an answer is learnt from the first one, and after
// that an answer is so many bytes that begin with the same status line. Every answer of a server
// that is measured has the same length (Date is always 29 characters long). It does no I/O.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "echo_protocol.h"

namespace bench {

class http_protocol {
 public:
  struct exchange {
    std::size_t received = 0;
    std::string first;  // until the length is known
  };

  http_protocol(const std::string& host, const std::string& path, std::size_t pipeline)
      : pipeline_(pipeline) {
    for (std::size_t i = 0; i < pipeline; ++i) {
      requests_ += "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
    }
  }

  std::size_t request_size() const { return requests_.size(); }
  std::size_t pipeline() const { return pipeline_; }
  void start(exchange& state, std::uint64_t) const { state.received = 0; }
  int request(exchange&, std::size_t offset, iovec* pieces) {
    if (offset == requests_.size()) return 0;
    pieces[0] = {requests_.data() + offset, requests_.size() - offset};
    return 1;
  }

  // Everything is taken with room to spare.
  std::size_t must_see(const exchange&) const { return requests_.size(); }
  std::size_t missing(const exchange&) const { return 0; }
  void dropped(exchange&, std::size_t) const {}
  bool complete(const exchange& state) const {
    return answer_size_ != 0 && state.received == answer_size_ * pipeline_;
  }

  verdict reply(exchange& state, const char* data, std::size_t size) {
    if (answer_size_ == 0) {
      state.first.append(data, size);
      if (!learn(state.first)) return verdict::wrong;
    } else if (state.received % answer_size_ == 0) {
      const std::size_t seen = std::min(size, status_line.size());
      if (std::memcmp(data, status_line.data(), seen) != 0) return verdict::wrong;
    }
    state.received += size;
    if (answer_size_ == 0) return verdict::more;
    if (state.received > answer_size_ * pipeline_) return verdict::wrong;
    return complete(state) ? verdict::done : verdict::more;
  }

 private:
  static constexpr std::string_view status_line = "HTTP/1.1 200 OK\r\n";

  // False: no answer that can be measured.
  bool learn(std::string_view text) {
    const std::size_t head_end = text.find("\r\n\r\n");
    if (head_end == text.npos) return text.size() < 4096;
    std::size_t at = text.find("Content-Length: ");
    if (at == text.npos) at = text.find("content-length: ");
    if (!text.starts_with(status_line) || at > head_end) return false;
    std::size_t length = 0;
    std::from_chars(text.data() + at + 16, text.data() + head_end, length);
    answer_size_ = head_end + 4 + length;
    return true;
  }

  std::size_t pipeline_;
  std::string requests_;
  std::size_t answer_size_ = 0;
};

}  // namespace bench
