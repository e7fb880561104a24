// What a server has sent on one connection, taken apart by a reader of its own: small, slow, and
// as strict as RFC 9112 is with those who write. The second opinion of simulations and fuzzing.
#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/runtime/sim/seeds.h>

namespace rill::test {

struct http_answer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
  std::string body;                                         // as far as it has come
  bool is_whole = false;                                    // its framing says so
  bool is_unframed = false;  // its body lasts until the connection ends

  std::string_view find(std::string_view name) const {
    for (const auto& [known, value] : fields) {
      if (known == name) return value;
    }
    return {};
  }
};

/// Throws sim::promise_broken for what no server may send.
class http_answer_reader {
 public:
  explicit http_answer_reader(std::string_view bytes) : rest_(bytes) {}

  /// The next answer, to a request of this method. False: there is no whole head any more.
  bool next(std::string_view method, http_answer& made) {
    made = {};
    std::string_view line;
    if (!take_line(line)) return false;
    read_status(line, made);
    for (;;) {
      if (!take_line(line)) return false;
      if (line.empty()) break;
      read_field(line, made);
    }
    read_body(method, made);
    return true;
  }
  /// Nothing is left, not even a part of a head.
  bool is_at_end() const { return rest_.empty(); }

 private:
  static void must(bool holds, std::string_view promise) { sim::require(holds, promise); }

  bool take_line(std::string_view& line) {
    const std::size_t end = rest_.find("\r\n");
    if (end == rest_.npos) return false;
    line = rest_.substr(0, end);
    must(line.find_first_of(std::string_view("\r\n\0", 3)) == line.npos, "a line is one line");
    rest_.remove_prefix(end + 2);
    return true;
  }
  static void read_status(std::string_view line, http_answer& made) {
    must(line.starts_with("HTTP/1.1 ") && line.size() >= 13 && line[12] == ' ', "a status line");
    const auto [end, error] = std::from_chars(line.data() + 9, line.data() + 12, made.status);
    must(error == std::errc() && end == line.data() + 12 && made.status >= 100, "a status");
  }
  static void read_field(std::string_view line, http_answer& made) {
    const std::size_t colon = line.find(':');
    must(colon != line.npos && colon != 0, "a field has a name");
    std::string name(line.substr(0, colon));
    for (char& each : name) {
      must(std::isalnum(static_cast<unsigned char>(each)) != 0 || each == '-' || each == '_',
           "a name is a token");
      each = static_cast<char>(std::tolower(static_cast<unsigned char>(each)));
    }
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
    const bool is_framing = name == "content-length" || name == "transfer-encoding";
    must(!is_framing ||
             (made.find("content-length").empty() && made.find("transfer-encoding").empty()),
         "what frames a body is said once");
    made.fields.emplace_back(std::move(name), value);
  }

  std::uint64_t take_number(std::string_view text, int base) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    must(error == std::errc() && end == text.data() + text.size(), "a length is a number");
    return number;
  }
  /// False: there is less.
  bool take_bytes(std::uint64_t size, std::string& into) {
    const std::string_view got = rest_.substr(0, size);
    into.append(got);
    rest_.remove_prefix(got.size());
    return got.size() == size;
  }
  void read_body(std::string_view method, http_answer& made) {
    const bool is_bare = made.status < 200 || made.status == 204;
    const std::string_view length = made.find("content-length");
    const bool is_chunked = !made.find("transfer-encoding").empty();
    must(!is_bare || (length.empty() && !is_chunked), "no length where no body can be");
    if (is_bare || made.status == 304 || method == "HEAD") {
      made.is_whole = true;
    } else if (is_chunked) {
      must(made.find("transfer-encoding") == "chunked", "one coding");
      read_chunks(made);
    } else if (!length.empty()) {
      made.is_whole = take_bytes(take_number(length, 10), made.body);
    } else {
      made.is_unframed = true;
      take_bytes(rest_.size(), made.body);
    }
  }
  void read_chunks(http_answer& made) {
    for (std::string_view line; take_line(line);) {
      const std::uint64_t size = take_number(line, 16);
      if (size != 0 && !take_bytes(size, made.body)) return;
      if (!take_line(line)) return;
      must(line.empty(), "a chunk ends where it says");
      if (size != 0) continue;
      made.is_whole = true;
      return;
    }
  }

  std::string_view rest_;
};

/// All final answers in `bytes`, to requests of these methods; beyond them, to GET. Only the last
/// one may be cut.
inline std::vector<http_answer> read_http_answers(std::string_view bytes,
                                                  std::span<const std::string> methods) {
  std::vector<http_answer> all;
  http_answer_reader from(bytes);
  for (http_answer each;;) {
    std::string_view method = "GET";
    if (all.size() < methods.size()) method = methods[all.size()];
    if (!from.next(method, each)) return all;
    if (each.status < 200) continue;
    all.push_back(std::move(each));
  }
}

}  // namespace rill::test
