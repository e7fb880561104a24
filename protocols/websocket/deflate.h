// permessage-deflate (RFC 7692): what is offered and agreed, and messages through zlib.
// Not here: which messages are compressed (connection.h).
// Read next: deflate.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace rill::websocket {

/// What this end wants. Off, nothing is offered and every offer is declined.
///
/// Memory: without context take-over, compressing borrows 262 KiB and decompressing 39 KiB of the
///   thread's for the time of a message (measured with zlib 1.2.13), and an idle connection has
///   none. With it, a connection keeps its own: 262 KiB for what it sends, 39 KiB for what it
///   receives, or with windows of 12 bits 150 and 11 KiB.
struct deflate_options {
  bool is_on = false;
  /// Each message may refer to what came before it: smaller messages, for the memory above.
  bool server_context_takeover = false;
  bool client_context_takeover = false;
  /// 9 to 15: the windows are 2^bits bytes at most.
  int server_window_bits = 15;
  int client_window_bits = 15;
  /// 1 (fast) to 9 (small).
  int level = 5;
  /// Bytes of a message below which it is sent as it is.
  std::size_t size_min = 64;
};
static_assert(std::is_trivially_destructible_v<deflate_options>);

/// What both ends have agreed on.
struct deflate_parameters {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  std::uint8_t server_window_bits = 15;
  std::uint8_t client_window_bits = 15;

  friend bool operator==(const deflate_parameters&, const deflate_parameters&) = default;
};

/// An answer to the client's extensions, in the server's view.
struct deflate_answer {
  bool is_malformed = false;                 ///< the list is none: 400
  std::optional<deflate_parameters> agreed;  ///< nullopt: no offer was taken
  std::string text;                          ///< of Sec-WebSocket-Extensions; empty: no field
};
/// `extensions`: all of Sec-WebSocket-Extensions as one list. The first offer that can be met is.
deflate_answer answer_offers(std::string_view extensions, const deflate_options& options);

/// The client's offer; empty when it is off.
std::string write_offer(const deflate_options& options);
/// What a client makes of the server's answer.
struct deflate_reading {
  bool is_refused = false;  ///< another extension, or parameters that were not offered
  std::optional<deflate_parameters> agreed;
};
deflate_reading read_answer(std::string_view extensions, const deflate_options& offered);

/// Compresses messages.
class deflater {
 public:
  /// Throws std::bad_alloc. REQUIRES: 9 <= window_bits <= 15.
  deflater(int window_bits, int level);
  deflater(const deflater&) = delete;
  deflater& operator=(const deflater&) = delete;
  ~deflater();

  /// Appends what becomes of `piece`. With `is_last` the message is whole, and without the four
  /// bytes that every one would end with (section 7.2.1).
  void compress(std::string_view piece, bool is_last, std::string& to);
  /// The next message does not refer to those before it.
  void reset() noexcept;

 private:
  struct engine;
  std::unique_ptr<engine> engine_;
};

enum class inflate_outcome : std::uint8_t { good, corrupt, too_large };

/// Decompresses messages.
class inflater {
 public:
  /// Throws std::bad_alloc. REQUIRES: 8 <= window_bits <= 15.
  explicit inflater(int window_bits);
  inflater(const inflater&) = delete;
  inflater& operator=(const inflater&) = delete;
  ~inflater();

  /// Appends what comes out of `piece`, and with `is_last` of the end that it lacks. `to` never
  /// grows beyond `size_max`, whatever the message would become.
  inflate_outcome decompress(std::string_view piece, bool is_last, std::string& to,
                             std::size_t size_max);
  /// The next message does not refer to those before it.
  void reset() noexcept;

 private:
  struct engine;
  inflate_outcome run(std::string_view bytes, std::string& to, std::size_t size_max);
  bool restart() noexcept;

  std::unique_ptr<engine> engine_;
};

namespace detail {
/// From a stock of the thread's, reset; to be given back between two messages.
std::unique_ptr<deflater> take_deflater(int window_bits, int level);
void give_deflater(std::unique_ptr<deflater> from, int window_bits, int level) noexcept;
/// Of 15 bits, which read windows of any size.
std::unique_ptr<inflater> take_inflater();
void give_inflater(std::unique_ptr<inflater> from) noexcept;
}  // namespace detail

}  // namespace rill::websocket
