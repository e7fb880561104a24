// The codec of the NATS protocol: bytes in, packets out, for both sides. A packet is a control line
// ("MSG chat.lobby 7 5") and the headers and payload that it announces.
// https://docs.nats.io/reference/reference-protocols/nats-protocol is the source.
// Not here: any connection (session.h), what stands in the JSON of INFO (server.h).
// Read next: packet.cpp, then client.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include <rill/protocols/nats/error.h>

namespace rill::nats {

/// Bytes.
struct codec_limits {
  /// A control line without its end; nats-server's own default for its clients (max_control_line).
  std::size_t control_line_size_max = 4096;
  /// MSG and HMSG, of which the publisher has chosen the subject and the reply: what a server
  /// passes on is longer than what it takes, by the sid and by the reply subject of JetStream.
  std::size_t message_line_size_max = std::size_t{64} * 1024;
  /// INFO and CONNECT, which hold JSON: the addresses of a cluster of hundreds fit.
  std::size_t info_size_max = std::size_t{64} * 1024;
  /// Headers of one message, which are part of its payload for the server's max_payload. Of larger
  /// ones of a server nothing is given out (packet::has_large_headers); of a client they are
  /// headers_too_large.
  std::size_t header_size_max = std::size_t{64} * 1024;
  /// Headers and payload together. nats-server's default is 1 MiB, and it warns above 8.
  std::size_t payload_size_max = std::size_t{8} * 1024 * 1024;
};
static_assert(std::is_trivially_destructible_v<codec_limits>);

/// The operations; a packet with headers is no type of its own.
enum class packet_type : unsigned char {
  info,         ///< INFO, of servers
  connect,      ///< CONNECT, of clients
  publish,      ///< PUB and HPUB, of clients
  subscribe,    ///< SUB, of clients
  unsubscribe,  ///< UNSUB, of clients
  message,      ///< MSG and HMSG, of servers
  ping,
  pong,
  ok,     ///< +OK, of servers
  error,  ///< -ERR, of servers
};

/// Views of the bytes that were read. In a message subject and reply are what its publisher has
/// written, and servers look at neither: anything but blanks and line ends. Whoever wants more of
/// them asks is_subject(). So one message cannot end the connection of everybody who gets it.
struct packet {
  packet_type type = packet_type::ping;
  std::string_view subject;
  std::string_view reply;          ///< where an answer is to go; empty: nowhere
  std::string_view queue;          ///< of a subscription; empty: none
  std::string_view sid;            ///< the client's name of a subscription
  std::uint64_t max_count = 0;     ///< of an unsubscription: after so many messages; 0: at once
  std::string_view headers;        ///< the whole block; see headers.h
  bool has_large_headers = false;  ///< more than header_size_max: `headers` is empty
  std::string_view payload;
  std::string_view text;  ///< the JSON of INFO and CONNECT, the reason of -ERR without quotes
};

/// How far packet_reader::next() has come.
enum class packet_state : unsigned char { incomplete, complete, failed };

/// Takes bytes apart. The same bytes give the same packets, however they are cut.
/// Holds at most one packet and what one append() brought.
class packet_reader {
 public:
  /// Whose packets are read; those of the other side are unknown_operation.
  enum class sender : unsigned char { server, client };

  explicit packet_reader(sender from, const codec_limits& limits = codec_limits()) noexcept
      : limits_(limits), from_(from) {}

  /// Adds bytes behind those that are there. Views of earlier packets become invalid.
  void append(std::string_view bytes);
  /// The next packet. failed: nothing can be read any more; error() says why. The views are valid
  /// until the next append().
  packet_state next(packet& read);
  nats_error error() const noexcept { return error_; }
  /// Bytes that were added and not yet given out.
  std::size_t buffered_size() const noexcept { return buffer_.size() - begin_; }
  /// Of the payload from now on: what the server's INFO says, for instance.
  void set_payload_size_max(std::size_t size_max) noexcept { limits_.payload_size_max = size_max; }

 private:
  packet_state fail(nats_error why) noexcept;
  std::size_t line_size_max(packet_type type) const noexcept;
  packet_state read_line(std::string_view line, packet& read);
  packet_state read_with_payload(packet& read, std::string_view arguments, bool has_headers);
  packet_state read_payload(packet& read);

  codec_limits limits_;
  sender from_;
  bool failed_ = false;
  nats_error error_ = nats_error::bad_line;
  std::string buffer_;
  std::size_t begin_ = 0;     ///< of the next packet
  std::size_t searched_ = 0;  ///< from begin_ on there is no line's end in so many bytes
  // A line whose payload has not come whole yet.
  std::size_t line_size_ = 0;  ///< its end included; 0: the line has not come yet
  std::size_t header_size_ = 0;
  bool has_large_headers_ = false;
  std::size_t total_size_ = 0;
};

// Writing. Each adds one packet to `to`. REQUIRES: well-formed subjects, no line's end in `json`.
void append_info(std::string& to, std::string_view json);
void append_connect(std::string& to, std::string_view json);
/// HPUB if there are headers (a block as headers::to_text() gives), otherwise PUB.
void append_publish(std::string& to, std::string_view subject, std::string_view reply,
                    std::string_view headers, std::string_view payload);
void append_subscribe(std::string& to, std::string_view subject, std::string_view queue,
                      std::string_view sid);
void append_unsubscribe(std::string& to, std::string_view sid, std::uint64_t max_count = 0);
/// HMSG if there are headers, otherwise MSG.
void append_message(std::string& to, std::string_view subject, std::string_view sid,
                    std::string_view reply, std::string_view headers, std::string_view payload);
void append_ping(std::string& to);
void append_pong(std::string& to);
void append_error(std::string& to, std::string_view reason);
/// What append_publish() would add, at most.
std::size_t publish_size(std::string_view subject, std::string_view reply, std::size_t header_size,
                         std::size_t payload_size) noexcept;

}  // namespace rill::nats
