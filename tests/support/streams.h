// Helpers for tests of streams: bytes to send, and ways to read them back.
// Read next: stream_contract.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rill/net/stream.h>
#include <rill/runtime/task.h>

namespace rill::test {

/// More than any stream buffers by itself, so that a peer that does not read makes a writer wait.
inline constexpr std::size_t more_than_fits = std::size_t{32} << 20;

/// Bytes in which no stretch repeats soon: what is lost, doubled or out of order shows.
inline std::vector<std::byte> pattern(std::size_t size, std::size_t seed = 0) {
  std::vector<std::byte> bytes(size);
  std::uint32_t state = 0x9e3779b9U + static_cast<std::uint32_t>(seed);
  for (std::byte& each : bytes) {
    state = state * 1664525U + 1013904223U;
    each = static_cast<std::byte>(state >> 24);
  }
  return bytes;
}

/// Reads until `size` bytes have come or the stream has ended.
template <byte_stream Stream>
task<std::vector<std::byte>> read_bytes(Stream& from, std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::size_t done = 0;
  while (done < size) {
    const mutable_buffer rest(bytes.data() + done, size - done);
    const std::size_t came = co_await from.read(rest);
    if (came == 0) break;
    done += came;
  }
  bytes.resize(done);
  co_return bytes;
}

template <byte_stream Stream>
task<std::string> read_text(Stream& from, std::size_t size) {
  const std::vector<std::byte> bytes = co_await read_bytes(from, size);
  co_return std::string(const_buffer(bytes).text());
}

/// Reads all of it through leases.
template <byte_stream Stream>
task<std::vector<std::byte>> drain(Stream& from) {
  std::vector<std::byte> bytes;
  while (lease part = co_await from.read_lease()) {
    bytes.insert(bytes.end(), part.data(), part.data() + part.size());
  }
  co_return bytes;
}

template <byte_stream Stream>
task<> write_pattern(Stream& to, std::size_t size, std::size_t seed) {
  const std::vector<std::byte> bytes = pattern(size, seed);
  co_await to.write_all(bytes);
}

}  // namespace rill::test
