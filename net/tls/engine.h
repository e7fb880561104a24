// One connection of TLS without any I/O: ciphertext in, plaintext out, and the reverse.
// OpenSSL behind a pair of buffers of our own, so that nothing in it touches a socket.
// Not here: waiting (stream.h), what connections share (context.h). Read next: engine.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <rill/net/buffer.h>
#include <rill/net/tls/context.h>
#include <rill/net/tls/error.h>
#include <rill/runtime/kernel.h>

struct ssl_st;
struct ssl_session_st;

namespace rill::tls::detail {

struct server_generation;

/// Frees what OpenSSL keeps of a connection.
struct free_ssl {
  void operator()(ssl_st* connection) const noexcept;
};

/// How far a walk through the pieces of one message has come.
class piece_cursor {
 public:
  explicit piece_cursor(std::span<const const_buffer> pieces) noexcept : pieces_(pieces) {}

  /// The next stretch: of a piece itself, or gathered in `room` from several small ones; at most as
  /// long as `room`. Empty: that was all.
  const_buffer next(std::span<std::byte> room) noexcept;
  /// `room` may be used; otherwise it need not be there.
  bool is_several() const noexcept { return pieces_.size() > 1; }

 private:
  std::span<const const_buffer> pieces_;
  std::size_t offset_ = 0;  // in the first of them
};

class engine {
 public:
  /// Plaintext in one record at most (RFC 8446 section 5.1).
  static constexpr std::size_t record_size_max = 16384;
  /// Ciphertext that is made before it is sent: a few records for one send.
  static constexpr std::size_t batch_size = 4 * record_size_max;
  /// What a peer may make us owe it in answers while we write nothing.
  static constexpr std::size_t answers_size_max = 4096;

  /// A client's. `host` is verified, and asked for by SNI unless it is an IP address; it may be
  /// empty if nothing is verified. Throws io_error: bad_host_name.
  engine(const client_context& with, std::string_view host, kernel& seam);
  /// A server's, with the certificates of this moment.
  engine(const server_context& with, kernel& seam);
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  ~engine();

  /// Ciphertext to work on, which must stay until has_input() is false. REQUIRES: !has_input().
  void set_input(std::span<const std::byte> bytes) noexcept;
  bool has_input() const noexcept { return !input_.empty(); }
  std::size_t input_size() const noexcept { return input_.size(); }
  /// Ciphertext for the peer; the caller takes it and sends it.
  std::vector<std::byte>& output() noexcept { return output_; }
  /// Memory of an output that has been sent, for later ones of this thread: a long answer would
  /// otherwise take it from the system and give it back for every 64 KiB.
  static void keep_memory(std::vector<std::byte>&& sent);

  enum class progress : unsigned char { done, wants_input, failed };
  /// What is to be sent are tickets, which nobody waits for: they go with the first answer, in one
  /// send, or with close_notify.
  bool may_answer_later() const noexcept;
  /// Goes on with the handshake. Output may be there whatever it says, an alert for instance.
  progress handshake() noexcept;

  /// Something can be taken by read() without more input: bytes, the end, a failure.
  bool can_read() noexcept;
  /// After can_read(): bytes, as many as there are and fit; 0: the peer has said close_notify, or
  /// failure() is set.
  std::size_t read(std::span<std::byte> into) noexcept;
  /// Bytes that read() gives at once, at least; 0 if only the end or a failure can be taken.
  std::size_t readable_size() const noexcept;
  bool has_ended() const noexcept { return ended_; }
  /// As the client was told it; empty for a server.
  std::string_view given_host() const noexcept {
    return client_ == nullptr ? std::string_view() : client_->given_host;
  }

  /// Makes records of the next stretch of a message, batch_size of them or a little more. False:
  /// failure() is set.
  bool encrypt(piece_cursor& from);
  /// Says that nothing follows.
  void close_notify() noexcept;

  /// What went wrong for good: in both directions.
  const std::error_code& failure() const noexcept { return failure_; }
  /// Ours, for what only the driver can see; the first failure counts.
  void fail(std::error_code why) noexcept;

  // What was agreed. REQUIRES: the handshake is done.
  version protocol_version() const noexcept;
  std::string_view cipher() const noexcept;
  std::string_view protocol() const noexcept;
  bool is_resumed() const noexcept;
  std::string_view server_name() const noexcept;
  std::string peer_subject() const;
  std::string peer_certificate_pem() const;
  ssl_st* native_handle() const noexcept { return ssl_.get(); }

  // For OpenSSL's callbacks.
  static engine& of(const ssl_st* connection) noexcept;
  int bio_read(char* into, int size) noexcept;
  int bio_write(const char* from, int size) noexcept;
  void keep_session(ssl_session_st* session) noexcept;
  kernel& seam() const noexcept { return *seam_; }

 private:
  void begin();
  bool settle(int outcome) noexcept;
  std::error_code diagnose() noexcept;

  kernel* seam_;
  /// Apart, for servers hold many connections.
  struct client_part {
    std::shared_ptr<client_state> state;
    std::string given_host;
    std::string host;  // as certificates have it
  };

  std::unique_ptr<client_part> client_;              // a client's
  std::shared_ptr<const server_generation> server_;  // a server's
  std::unique_ptr<ssl_st, free_ssl> ssl_;
  std::span<const std::byte> input_;
  std::vector<std::byte> output_;
  std::error_code failure_;
  std::array<char, 8> first_bytes_{};  // of the peer, to know what it speaks if not TLS
  std::uint8_t first_size_ = 0;
  bool ended_ = false;
  bool handshaken_ = false;
  bool out_of_memory_ = false;
};

}  // namespace rill::tls::detail
