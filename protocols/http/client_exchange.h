// One request and its response on one connection. Private: users see client_response.
// Not here: which connection, whether it is tried again, where it is redirected to (client.cpp).
// Read next: client_exchange.cpp.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <rill/protocols/http/body.h>
#include <rill/protocols/http/client_error.h>
#include <rill/protocols/http/client_pool.h>
#include <rill/protocols/http/client_request.h>
#include <rill/protocols/http/coding.h>
#include <rill/protocols/http/head.h>
#include <rill/runtime/event.h>
#include <rill/runtime/nursery.h>

namespace rill::http::detail {

/// A request as it goes out. What it points to must outlive the exchange's send().
struct outgoing {
  std::string_view method;
  std::string_view head;  ///< ends with the empty line
  const request_body* body;
  bool expects_continue;
};

struct exchange_limits {
  head_limits head;
  unsigned interim_count_max;
  std::chrono::nanoseconds idle_timeout;
  std::chrono::nanoseconds continue_timeout;
  loop_clock::time_point deadline;
};

class client_exchange final : private body_writer {
 public:
  /// `request`: as client_error has it.
  client_exchange(connection_pool::slot connection, const exchange_limits& limits,
                  std::string request);

  /// Sends the request and reads until the head of its final response. Errors: client_error; what
  /// the producer of the body throws.
  task<void> send(const outgoing& asked, const progress_function& on_upload);

  const std::string& peer() const noexcept { return peer_; }
  const response_head& head() const noexcept { return head_; }
  std::string_view head_text() const noexcept { return head_text_; }
  const std::string& request() const noexcept { return request_; }
  /// Something of a response has come.
  bool has_answer() const noexcept { return received_size_ != 0; }

  /// By Content-Encoding, if there is one. To be called before the body is read.
  void decode_content(const decode_limits& limits);
  void set_progress(progress_function on_download) { on_download_ = std::move(on_download); }
  /// The next piece of the body; empty at its end, when the connection has gone back to the pool or
  /// was closed. Valid until the next call.
  task<std::string_view> read_some();
  /// Closes the connection, unless it has gone back.
  void abandon() noexcept { connection_.drop(); }
  std::string_view find_trailer(std::string_view name) const noexcept {
    return body_.find_trailer(name);
  }

 private:
  // body_writer, for producers.
  task<void> write(const_buffer bytes) override;
  task<void> flush() override { co_return; }

  client_stream& stream() const noexcept { return *connection_.stream(); }
  loop_clock::time_point idle_deadline() const noexcept;
  task<void> send_whole(const outgoing& asked);
  task<void> send_beside_reading(const outgoing& asked);
  task<void> send_in_pieces(const outgoing& asked, nursery& beside);
  task<void> send_body(const request_body& body);
  task<bool> write_pieces(std::span<const const_buffer> pieces);
  void count_sent(std::size_t size);
  task<void> read_head(const outgoing& asked);
  task<void> fill();
  void check_decoder();
  void finish();
  [[noreturn]] void throw_send_failure() const;
  [[noreturn]] void fail(client_phase phase, std::error_code code);
  [[noreturn]] void fail(client_phase phase, const error& cause);

  connection_pool::slot connection_;
  exchange_limits limits_;
  std::string request_;
  std::string peer_;
  response_head head_;
  std::string head_text_;
  body_decoder body_;
  std::optional<content_decoder> decoder_;
  std::string_view encoded_;  // of the bytes taken: what the decoder has not had yet
  bool is_decoding_ = false;
  std::size_t taken_size_ = 0;  // of the stream's bytes, which the caller looks at
  std::uint64_t received_size_ = 0;
  loop_clock::time_point last_activity_;
  bool is_done_ = false;
  bool has_failed_ = false;

  // Of the request's body.
  const progress_function* on_upload_ = nullptr;
  progress_function on_download_;
  std::optional<std::uint64_t> body_size_;
  std::uint64_t sent_size_ = 0;
  bool is_chunked_ = false;
  bool is_sending_ = false;
  bool is_sent_ = false;
  event go_ahead_;
  event sent_;
  std::optional<error> send_failure_;
  std::exception_ptr producer_failure_;
};

}  // namespace rill::http::detail
