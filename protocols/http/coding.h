// Content codings (RFC 9110 section 8.4.1): gzip, deflate and br, piece by piece, with bounded
// memory. The decoder has limits against small inputs that become huge.
// Not here: which coding a client wants (values.h), compressing answers (compress.h).
// Read next: compress.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rill::http {

enum class coding : std::uint8_t { gzip, deflate, brotli };

/// "gzip", "x-gzip", "deflate", "br", without case; nullopt for others.
std::optional<coding> find_coding(std::string_view name) noexcept;
std::string_view name_of(coding which) noexcept;

/// Memory: 280 KiB for gzip and deflate, up to 1.7 MiB for brotli (measured).
class content_encoder {
 public:
  /// `level`: 1 (fast) to 9 (small). Throws std::bad_alloc.
  explicit content_encoder(coding to, int level = 5);
  content_encoder(content_encoder&& other) noexcept;
  content_encoder& operator=(content_encoder&& other) noexcept;
  ~content_encoder();

  /// What is written to `to` may come later than what is given here.
  void encode(std::string_view bytes, std::string& to);
  /// From what has been written by now, all that was given can be read.
  void flush(std::string& to);
  /// The end. Nothing may follow.
  void finish(std::string& to);

 private:
  class engine;
  class zlib_engine;
  class brotli_engine;
  std::unique_ptr<engine> engine_;
};

enum class decode_error : std::uint8_t {
  corrupt,     ///< it is not of this coding, or something follows its end
  too_large,   ///< more than decode_limits::size_max
  bomb,        ///< it grows more than decode_limits::ratio_max times
  incomplete,  ///< it ended too early
};
/// "compressed content is corrupt"
std::string_view message_of(decode_error error) noexcept;

/// Against bodies that are small as they come and huge as they are.
struct decode_limits {
  /// Bytes that come out.
  std::uint64_t size_max = 1ULL << 30;
  /// Bytes that come out for each that went in, once ratio_free_size have come out. Text compresses
  /// 3 to 10 times, logs and tables up to 100 times; deflate can reach 1,032, brotli far more.
  std::uint64_t ratio_max = 200;
  std::uint64_t ratio_free_size = 4 * 1024 * 1024;
};

/// Memory: 60 KiB for gzip and deflate; for brotli as its sender has it, up to 17 MiB.
class content_decoder {
 public:
  /// "deflate" is read with the header of zlib, as RFC 9110 has it, and without, as some servers
  /// send it; gzip may have several members (RFC 1952 section 2.2). Throws std::bad_alloc, as
  /// decode() does.
  explicit content_decoder(coding from, const decode_limits& limits = decode_limits());
  content_decoder(content_decoder&& other) noexcept;
  content_decoder& operator=(content_decoder&& other) noexcept;
  ~content_decoder();

  /// One step of decode().
  struct piece {
    std::string_view data;  ///< at most 16 KiB, in the decoder, valid until the next call
    std::size_t used = 0;   ///< bytes that are done with
  };
  /// The next piece. Empty: all that was given is used, or it has failed. To be called again with
  /// the rest, or with nothing, until then.
  ///   for (auto p = d.decode(in); !p.data.empty(); p = d.decode(in)) { ...
  ///   in.remove_prefix(p.used)
  piece decode(std::string_view bytes);
  /// Until it wants more or has failed: `sink(std::string_view)` for each piece. False: it failed.
  template <class Sink>
  bool decode(std::string_view bytes, Sink&& sink) {
    for (;;) {
      const piece one = decode(bytes);
      bytes.remove_prefix(one.used);
      if (one.data.empty()) return !has_failed();
      sink(one.data);
    }
  }
  /// All has been given. True: it was whole, or there was nothing at all, as a few servers send it.
  bool end() noexcept;

  bool has_failed() const noexcept { return has_failed_; }
  decode_error error() const noexcept { return error_; }
  /// Bytes that came out so far.
  std::uint64_t size() const noexcept { return size_; }

 private:
  class engine;
  class zlib_engine;
  class brotli_engine;

  void fail(decode_error error) noexcept;

  std::unique_ptr<engine> engine_;
  decode_limits limits_;
  std::uint64_t size_ = 0;
  std::uint64_t used_size_ = 0;
  decode_error error_ = decode_error::incomplete;
  bool has_failed_ = false;
};

}  // namespace rill::http
