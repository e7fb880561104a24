// What the HTTP servers of this bench share that do not parse: where requests end, and one answer.
//
// It looks for the empty line that ends a request and takes everything for a GET without a body.
// Less than this no server can do, so those that use it are yardsticks and not servers to copy.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

namespace bench {

// Counts the requests that end in what one connection receives, wherever it is cut.
class request_counter {
 public:
  std::size_t count(std::string_view text) {
    constexpr std::string_view end = "\r\n\r\n";
    std::size_t found_count = 0;
    std::size_t at = 0;
    while (matched_ > 0 && at < text.size()) {
      matched_ = text[at] == end[matched_] ? matched_ + 1 : 0;
      ++at;
      if (matched_ == end.size()) {
        matched_ = 0;
        ++found_count;
      }
    }
    for (;;) {
      const void* found = ::memmem(text.data() + at, text.size() - at, end.data(), end.size());
      if (found == nullptr) break;
      ++found_count;
      at = static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) + end.size();
    }
    const std::string_view rest = text.substr(at);
    for (std::size_t size = std::min<std::size_t>(3, rest.size()); size > 0; --size) {
      if (!rest.ends_with(end.substr(0, size))) continue;
      matched_ = size;
      break;
    }
    return found_count;
  }

 private:
  std::size_t matched_ = 0;  // characters of an end that lies across two pieces
};

// The same answer many times over, dated anew every second.
class answer_block {
 public:
  static constexpr std::size_t count_max = 256;

  // `count` answers, at most count_max. What is being sent when the second changes changes under
  // the kernel's hands, which harms nobody: all but the date stays as it is.
  std::string_view answers(std::size_t count) {
    if (std::time(nullptr) != written_) write();
    return {block_.data(), count * size_};
  }

 private:
  void write() {
    written_ = std::time(nullptr);
    tm parts{};
    ::gmtime_r(&written_, &parts);
    char date[40];
    std::strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    const std::string one = "HTTP/1.1 200 OK\r\nDate: " + std::string(date) +
                            "\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n"
                            "Server: raw\r\n\r\nHello, World!";
    size_ = one.size();
    block_.resize(size_ * count_max);
    for (std::size_t i = 0; i < count_max; ++i) one.copy(&block_[i * size_], size_);
  }

  std::string block_;
  std::size_t size_ = 0;
  std::time_t written_ = 0;
};

}  // namespace bench
