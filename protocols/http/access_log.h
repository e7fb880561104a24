// The access log in the "combined" format, which every tool for logs of web servers reads:
//   10.0.0.7 - ann [06/Nov/1994:08:49:37 +0000] "GET /x HTTP/1.1" 200 2326 "https://a/" "curl/8"
// Not here: who calls it (session_options), errors of handlers (session_options::on_error).
// Read next: access_log.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <rill/net/endpoint.h>
#include <rill/protocols/http/date.h>
#include <rill/protocols/http/head.h>
#include <rill/runtime/event.h>
#include <rill/runtime/file.h>
#include <rill/runtime/task.h>

namespace rill::http {

/// One request and its answer. What the pointers point to must live for the call only.
struct exchange_record {
  const endpoint* peer = nullptr;      ///< nullptr: not known
  const request_head* head = nullptr;  ///< nullptr: what came was no request
  http_time time{};                    ///< by the wall clock of the seam
  int status = 0;
  std::uint64_t body_size = 0;  ///< bytes of the answer's body that were sent
};

/// The line, ended by LF. The user is what the credentials of scheme Basic say, right or wrong.
/// Whatever strangers have sent is visible ASCII in it: other bytes, quotation marks and
/// backslashes are written `\xNN`, and of each text at most 2 KiB.
std::string log_line(const exchange_record& of);

/// Collects lines and writes them to a file by batches, so that a request never waits for a disk.
///   http::access_log log(std::move(file));   // opened with write, create and append
///   tasks.start([&] { return log.run(); });
/// One loop's thread; several may write to one file that each has opened with `append`.
class access_log {
 public:
  /// How much may wait to be written.
  struct limits {
    /// Lines wait at most so long.
    std::chrono::nanoseconds delay = std::chrono::milliseconds(500);
    /// So many bytes are written without waiting for more.
    std::size_t batch_size = 64 * 1024;
    /// When the disk is slower than the requests for so long that this many bytes wait, further
    /// lines are lost.
    std::size_t pending_size_max = 8 * 1024 * 1024;
  };

  explicit access_log(file to) : access_log(std::move(to), limits()) {}
  access_log(file to, const limits& chosen) noexcept : to_(std::move(to)), limits_(chosen) {}

  /// Never waits.
  void add(const exchange_record& exchange) { add_line(log_line(exchange)); }
  void add_line(std::string_view line);

  /// Writes what is added until stop() has been called and all is written. A batch that the disk
  /// refuses is lost; the next one is tried anew. Cancellation: what is not written is lost, and a
  /// line may be cut. REQUIRES: it runs once at a time.
  [[nodiscard]] task<> run();
  void stop() noexcept;

  /// Lines that were not written: there was no room, or the disk refused.
  std::uint64_t lost_count() const noexcept { return lost_count_; }

 private:
  task<> write(std::string_view batch);

  file to_;
  limits limits_;
  std::string pending_;
  std::uint64_t lost_count_ = 0;
  event has_lines_;
  event has_batch_;  // or is to stop
  bool is_stopping_ = false;
};

}  // namespace rill::http
