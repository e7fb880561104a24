// zlib and brotli behind one face each. See coding.h.
#include <rill/protocols/http/coding.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include <brotli/decode.h>
#include <brotli/encode.h>

#include <rill/protocols/http/head.h>

namespace rill::http {
namespace {

constexpr std::size_t buffer_size = 16 * 1024;

// windowBits of zlib.h: the largest window, and how the stream is wrapped.
constexpr int window_bits = 15;
constexpr int gzip_wrapper = 16;
constexpr int memory_level = 8;

const Bytef* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const Bytef*>(text.data());
}

}  // namespace

std::optional<coding> find_coding(std::string_view name) noexcept {
  if (equals_without_case(name, "gzip") || equals_without_case(name, "x-gzip")) return coding::gzip;
  if (equals_without_case(name, "deflate")) return coding::deflate;
  if (equals_without_case(name, "br")) return coding::brotli;
  return std::nullopt;
}

std::string_view name_of(coding which) noexcept {
  switch (which) {
    case coding::gzip:
      return "gzip";
    case coding::deflate:
      return "deflate";
    case coding::brotli:
      return "br";
  }
  return "identity";
}

// ---------------------------------------------------------------- encoding

enum class encode_step : std::uint8_t { go_on, flush, finish };

class content_encoder::engine {
 public:
  engine() = default;
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  virtual ~engine() = default;
  virtual void encode(std::string_view bytes, encode_step step, std::string& to) = 0;
};

class content_encoder::zlib_engine final : public content_encoder::engine {
 public:
  zlib_engine(int level, int bits) {
    if (::deflateInit2(&stream_, level, Z_DEFLATED, bits, memory_level, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~zlib_engine() override { ::deflateEnd(&stream_); }

  void encode(std::string_view bytes, encode_step step, std::string& to) override {
    int how = Z_NO_FLUSH;
    if (step == encode_step::flush) how = Z_SYNC_FLUSH;
    if (step == encode_step::finish) how = Z_FINISH;
    do {
      // avail_in has 32 bits.
      const std::string_view part = bytes.substr(0, 1U << 30);
      stream_.next_in = const_cast<Bytef*>(bytes_of(part));
      stream_.avail_in = static_cast<uInt>(part.size());
      bytes.remove_prefix(part.size());
      // Room is left once there is no more to say (zlib.h, deflate).
      do {
        stream_.next_out = memory_.data();
        stream_.avail_out = static_cast<uInt>(memory_.size());
        ::deflate(&stream_, bytes.empty() ? how : Z_NO_FLUSH);
        to.append(reinterpret_cast<const char*>(memory_.data()),
                  memory_.size() - stream_.avail_out);
      } while (stream_.avail_out == 0);
    } while (!bytes.empty());
  }

 private:
  z_stream stream_{};
  std::array<Bytef, buffer_size> memory_;
};

class content_encoder::brotli_engine final : public content_encoder::engine {
 public:
  explicit brotli_engine(int level)
      : state_(::BrotliEncoderCreateInstance(nullptr, nullptr, nullptr)) {
    // 64 KiB, for the memory of each answer that is under way: 1.7 MiB. With 256 KiB it would be
    // 3.4 MiB, for 3 % less to send.
    constexpr std::uint32_t window = 16;
    if (state_ == nullptr) throw std::bad_alloc();
    ::BrotliEncoderSetParameter(state_, BROTLI_PARAM_QUALITY, static_cast<std::uint32_t>(level));
    ::BrotliEncoderSetParameter(state_, BROTLI_PARAM_LGWIN, window);
  }
  ~brotli_engine() override { ::BrotliEncoderDestroyInstance(state_); }

  void encode(std::string_view bytes, encode_step step, std::string& to) override {
    BrotliEncoderOperation how = BROTLI_OPERATION_PROCESS;
    if (step == encode_step::flush) how = BROTLI_OPERATION_FLUSH;
    if (step == encode_step::finish) how = BROTLI_OPERATION_FINISH;
    const std::uint8_t* next_in = bytes_of(bytes);
    std::size_t left = bytes.size();
    do {
      std::size_t room = 0;
      if (::BrotliEncoderCompressStream(state_, how, &left, &next_in, &room, nullptr, nullptr) ==
          BROTLI_FALSE) {
        throw std::bad_alloc();  // nothing else can go wrong (encode.h)
      }
      std::size_t size = 0;
      const std::uint8_t* const made = ::BrotliEncoderTakeOutput(state_, &size);
      to.append(reinterpret_cast<const char*>(made), size);
    } while (left != 0 || ::BrotliEncoderHasMoreOutput(state_) == BROTLI_TRUE);
  }

 private:
  BrotliEncoderState* state_;
};

content_encoder::content_encoder(coding to, int level) {
  level = std::clamp(level, 1, 9);
  if (to == coding::brotli) {
    engine_ = std::make_unique<brotli_engine>(level);
  } else {
    engine_ = std::make_unique<zlib_engine>(
        level, to == coding::gzip ? window_bits + gzip_wrapper : window_bits);
  }
}
content_encoder::content_encoder(content_encoder&& other) noexcept = default;
content_encoder& content_encoder::operator=(content_encoder&& other) noexcept = default;
content_encoder::~content_encoder() = default;

void content_encoder::encode(std::string_view bytes, std::string& to) {
  if (!bytes.empty()) engine_->encode(bytes, encode_step::go_on, to);
}
void content_encoder::flush(std::string& to) { engine_->encode({}, encode_step::flush, to); }
void content_encoder::finish(std::string& to) { engine_->encode({}, encode_step::finish, to); }

// ---------------------------------------------------------------- decoding

/// One call of the library: bytes in, at most a buffer out.
class content_decoder::engine {
 public:
  engine() = default;
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;
  virtual ~engine() = default;
  /// False: it is corrupt.
  virtual bool decode(std::string_view bytes, piece& made) = 0;
  virtual bool is_whole() const noexcept = 0;

 protected:
  std::string_view made_of(std::size_t size) const noexcept {
    return {reinterpret_cast<const char*>(memory_.data()), size};
  }
  std::array<std::uint8_t, buffer_size> memory_;
};

class content_decoder::zlib_engine final : public content_decoder::engine {
 public:
  explicit zlib_engine(bool is_gzip) : is_gzip_(is_gzip) {
    if (::inflateInit2(&stream_, is_gzip ? window_bits + gzip_wrapper : window_bits) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~zlib_engine() override { ::inflateEnd(&stream_); }

  bool decode(std::string_view bytes, piece& made) override {
    if (is_whole_ && !bytes.empty()) {
      if (!is_gzip_) return false;
      ::inflateReset(&stream_);  // another member
      is_whole_ = false;
    }
    if (!is_gzip_ && !knows_wrapper_) {
      made.used = find_wrapper(bytes);
      return true;
    }
    if (first_size_ != 0) {  // bytes that the wrapper was guessed from
      const std::string_view first(first_.data(), std::exchange(first_size_, 0));
      if (!inflate(first, made) || stream_.avail_in != 0) return false;
      if (!made.data.empty()) return true;
    }
    const std::string_view part = bytes.substr(0, 1U << 30);
    const bool is_good = inflate(part, made);
    made.used = part.size() - stream_.avail_in;
    return is_good;
  }
  bool is_whole() const noexcept override { return is_whole_; }

 private:
  bool inflate(std::string_view bytes, piece& made) {
    stream_.next_in = const_cast<Bytef*>(bytes_of(bytes));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    stream_.next_out = memory_.data();
    stream_.avail_out = static_cast<uInt>(memory_.size());
    const int outcome = ::inflate(&stream_, Z_NO_FLUSH);
    if (outcome == Z_MEM_ERROR) throw std::bad_alloc();
    is_whole_ = outcome == Z_STREAM_END;
    made.data = made_of(memory_.size() - stream_.avail_out);
    // Z_BUF_ERROR: nothing to do, which is no error (zlib.h).
    return outcome == Z_OK || outcome == Z_STREAM_END || outcome == Z_BUF_ERROR;
  }

  /// Two bytes tell whether there is a header of zlib (RFC 1950 section 2.2).
  std::size_t find_wrapper(std::string_view bytes) {
    std::size_t used = 0;
    while (used < bytes.size() && first_size_ < first_.size())
      first_[first_size_++] = bytes[used++];
    if (first_size_ < first_.size()) return used;
    constexpr unsigned method = 8;
    const unsigned first = static_cast<unsigned char>(first_[0]);
    const unsigned second = static_cast<unsigned char>(first_[1]);
    knows_wrapper_ = true;
    const bool is_wrapped = (first & 15U) == method && ((first << 8U) + second) % 31 == 0;
    if (!is_wrapped) ::inflateReset2(&stream_, -window_bits);
    return used;
  }

  z_stream stream_{};
  std::array<char, 2> first_{};
  std::size_t first_size_ = 0;
  bool is_gzip_;
  bool knows_wrapper_ = false;
  bool is_whole_ = false;
};

class content_decoder::brotli_engine final : public content_decoder::engine {
 public:
  brotli_engine() : state_(::BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {
    if (state_ == nullptr) throw std::bad_alloc();
  }
  ~brotli_engine() override { ::BrotliDecoderDestroyInstance(state_); }

  bool decode(std::string_view bytes, piece& made) override {
    if (is_whole_) return bytes.empty();
    std::size_t left = bytes.size();
    const std::uint8_t* next_in = bytes_of(bytes);
    std::size_t room = memory_.size();
    std::uint8_t* next_out = memory_.data();
    const BrotliDecoderResult outcome =
        ::BrotliDecoderDecompressStream(state_, &left, &next_in, &room, &next_out, nullptr);
    is_whole_ = outcome == BROTLI_DECODER_RESULT_SUCCESS;
    made = {made_of(memory_.size() - room), bytes.size() - left};
    return outcome != BROTLI_DECODER_RESULT_ERROR;
  }
  bool is_whole() const noexcept override { return is_whole_; }

 private:
  BrotliDecoderState* state_;
  bool is_whole_ = false;
};

std::string_view message_of(decode_error error) noexcept {
  switch (error) {
    case decode_error::corrupt:
      return "compressed content is corrupt";
    case decode_error::too_large:
      return "compressed content becomes too large";
    case decode_error::bomb:
      return "compressed content becomes far larger than it is";
    case decode_error::incomplete:
      return "compressed content is incomplete";
  }
  return "compressed content is malformed";
}

content_decoder::content_decoder(coding from, const decode_limits& limits) : limits_(limits) {
  if (from == coding::brotli) {
    engine_ = std::make_unique<brotli_engine>();
  } else {
    engine_ = std::make_unique<zlib_engine>(from == coding::gzip);
  }
}
content_decoder::content_decoder(content_decoder&& other) noexcept = default;
content_decoder& content_decoder::operator=(content_decoder&& other) noexcept = default;
content_decoder::~content_decoder() = default;

content_decoder::piece content_decoder::decode(std::string_view bytes) {
  piece total;
  while (!has_failed_) {
    piece one;
    const bool is_good = engine_->decode(bytes.substr(total.used), one);
    total.used += one.used;
    used_size_ += one.used;
    size_ += one.data.size();
    if (!is_good) {
      fail(decode_error::corrupt);
    } else if (size_ > limits_.size_max) {
      fail(decode_error::too_large);
    } else if (size_ > limits_.ratio_free_size && size_ / limits_.ratio_max > used_size_) {
      fail(decode_error::bomb);
    } else if (!one.data.empty()) {
      total.data = one.data;
      break;
    } else if (one.used == 0) {
      if (total.used != bytes.size()) fail(decode_error::corrupt);  // it had ended before
      break;
    }
  }
  return total;
}

bool content_decoder::end() noexcept {
  if (has_failed_) return false;
  if (used_size_ == 0 || engine_->is_whole()) return true;
  fail(decode_error::incomplete);
  return false;
}

void content_decoder::fail(decode_error error) noexcept {
  has_failed_ = true;
  error_ = error;
}

}  // namespace rill::http
