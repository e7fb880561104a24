// zlib's raw streams, message by message. See deflate.h.
#include <rill/protocols/websocket/deflate.h>

#include <zlib.h>

#include <algorithm>
#include <array>
#include <new>
#include <utility>
#include <vector>

#include <rill/runtime/error.h>

namespace rill::websocket {
namespace {

constexpr std::size_t buffer_size = 16 * 1024;
constexpr int memory_level = 8;  // zlib's default
/// What Z_SYNC_FLUSH ends with: an empty block that is stored (RFC 7692 section 7.2.1).
constexpr std::string_view tail("\x00\x00\xff\xff", 4);
/// A sender may end its stream in a message and begin another (section 7.2.3.5), which costs the
/// receiver a copy of the window. Nobody does it often.
constexpr int restart_max = 256;

void set_input(z_stream& to, std::string_view bytes) noexcept {
  to.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
  to.avail_in = static_cast<uInt>(bytes.size());
}

}  // namespace

// ---------------------------------------------------------------- compressing

struct deflater::engine {
  z_stream stream{};
};

deflater::deflater(int window_bits, int level) : engine_(std::make_unique<engine>()) {
  RILL_ASSERT(window_bits >= 9 && window_bits <= 15,
              "zlib compresses with windows of 9 to 15 bits");
  if (::deflateInit2(&engine_->stream, std::clamp(level, 1, 9), Z_DEFLATED, -window_bits,
                     memory_level, Z_DEFAULT_STRATEGY) != Z_OK) {
    throw std::bad_alloc();
  }
}

deflater::~deflater() { ::deflateEnd(&engine_->stream); }

void deflater::reset() noexcept { ::deflateReset(&engine_->stream); }

void deflater::compress(std::string_view piece, bool is_last, std::string& to) {
  z_stream& stream = engine_->stream;
  std::array<Bytef, buffer_size> memory;
  const std::size_t before = to.size();
  do {
    const std::string_view part = piece.substr(0, 1U << 30);  // avail_in has 32 bits
    piece.remove_prefix(part.size());
    set_input(stream, part);
    do {
      stream.next_out = memory.data();
      stream.avail_out = static_cast<uInt>(memory.size());
      ::deflate(&stream, piece.empty() && is_last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
      to.append(reinterpret_cast<const char*>(memory.data()), memory.size() - stream.avail_out);
    } while (stream.avail_out == 0);
  } while (!piece.empty());
  if (!is_last) return;
  if (std::string_view(to).substr(before).ends_with(tail)) {
    to.resize(to.size() - tail.size());
  } else {
    to.push_back('\0');  // nothing was left to flush: an empty block (section 7.2.3.6)
  }
}

// ---------------------------------------------------------------- decompressing

struct inflater::engine {
  z_stream stream{};
  int restart_count = 0;  // in this message
};

inflater::inflater(int window_bits) : engine_(std::make_unique<engine>()) {
  // Some senders take 8 bits for 9, as zlib itself did.
  if (::inflateInit2(&engine_->stream, -std::clamp(window_bits, 9, 15)) != Z_OK) {
    throw std::bad_alloc();
  }
}

inflater::~inflater() { ::inflateEnd(&engine_->stream); }

void inflater::reset() noexcept {
  ::inflateReset(&engine_->stream);
  engine_->restart_count = 0;
}

inflate_outcome inflater::decompress(std::string_view piece, bool is_last, std::string& to,
                                     std::size_t size_max) {
  while (!piece.empty()) {
    const std::string_view part = piece.substr(0, 1U << 30);
    piece.remove_prefix(part.size());
    const inflate_outcome outcome = run(part, to, size_max);
    if (outcome != inflate_outcome::good) return outcome;
  }
  if (!is_last) return inflate_outcome::good;
  const inflate_outcome outcome = run(tail, to, size_max);
  engine_->restart_count = 0;
  return outcome;
}

inflate_outcome inflater::run(std::string_view bytes, std::string& to, std::size_t size_max) {
  z_stream& stream = engine_->stream;
  std::array<Bytef, buffer_size> memory;
  set_input(stream, bytes);
  for (;;) {
    stream.next_out = memory.data();
    stream.avail_out = static_cast<uInt>(memory.size());
    const int status = ::inflate(&stream, Z_SYNC_FLUSH);
    if (status == Z_MEM_ERROR) throw std::bad_alloc();
    const std::size_t size = memory.size() - stream.avail_out;
    const std::size_t room = size_max - to.size();
    to.append(reinterpret_cast<const char*>(memory.data()), std::min(size, room));
    if (size > room) return inflate_outcome::too_large;
    if (status == Z_STREAM_END) {
      if (!restart()) return inflate_outcome::corrupt;
      if (stream.avail_in == 0) return inflate_outcome::good;
      continue;
    }
    if (status == Z_BUF_ERROR) return inflate_outcome::good;  // it wants more
    if (status != Z_OK) return inflate_outcome::corrupt;
    if (stream.avail_in == 0 && stream.avail_out != 0) return inflate_outcome::good;
  }
}

/// Another stream follows one that has ended, and may refer to what that one held.
bool inflater::restart() noexcept {
  if (++engine_->restart_count > restart_max) return false;
  z_stream& stream = engine_->stream;
  std::array<Bytef, 32 * 1024> window;
  uInt size = 0;
  return ::inflateGetDictionary(&stream, window.data(), &size) == Z_OK &&
         ::inflateReset(&stream) == Z_OK &&
         ::inflateSetDictionary(&stream, window.data(), size) == Z_OK;
}

// ---------------------------------------------------------------- the stock

namespace detail {
namespace {

/// Messages that are under way at once on a thread are few: a reader that has a part of one, and
/// whoever compresses.
constexpr std::size_t stock_max = 4;

struct stocked_deflater {
  std::unique_ptr<deflater> held;
  int window_bits;
  int level;
};

std::vector<stocked_deflater>& deflaters() {
  thread_local std::vector<stocked_deflater> all;
  return all;
}
std::vector<std::unique_ptr<inflater>>& inflaters() {
  thread_local std::vector<std::unique_ptr<inflater>> all;
  return all;
}

/// Without memory for the stock, what was given is freed.
template <class Stock, class Item>
void keep(Stock& in, Item&& item) noexcept {
  if (in.size() == stock_max) return;
  try {
    in.push_back(std::forward<Item>(item));
  } catch (...) {
  }
}

}  // namespace

std::unique_ptr<deflater> take_deflater(int window_bits, int level) {
  auto& all = deflaters();
  const auto found = std::find_if(all.begin(), all.end(), [&](const stocked_deflater& each) {
    return each.window_bits == window_bits && each.level == level;
  });
  if (found == all.end()) return std::make_unique<deflater>(window_bits, level);
  std::unique_ptr<deflater> taken = std::move(found->held);
  all.erase(found);
  taken->reset();
  return taken;
}

void give_deflater(std::unique_ptr<deflater> from, int window_bits, int level) noexcept {
  if (deflaters().size() == stock_max) deflaters().pop_back();
  keep(deflaters(), stocked_deflater{std::move(from), window_bits, level});
}

std::unique_ptr<inflater> take_inflater() {
  auto& all = inflaters();
  if (all.empty()) return std::make_unique<inflater>(15);
  std::unique_ptr<inflater> taken = std::move(all.back());
  all.pop_back();
  taken->reset();
  return taken;
}

void give_inflater(std::unique_ptr<inflater> from) noexcept { keep(inflaters(), std::move(from)); }

}  // namespace detail

}  // namespace rill::websocket
