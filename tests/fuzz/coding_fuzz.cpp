// Compressed content: it is decoded alike however it is cut, keeps its limits, and what was encoded
// comes back. The first bytes choose the coding, the cuts and the limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "fuzz/input.h"
#include <rill/protocols/http/coding.h>

namespace {

using rill::fuzz::check;
using rill::http::coding;
using rill::http::decode_limits;

/// What came out; of what failed only that it did, for which limit or error is met first, and how
/// much comes out before, is a matter of where the input is cut.
std::string decoded(coding from, std::string_view bytes, std::size_t step,
                    const decode_limits& limits) {
  rill::http::content_decoder decoder(from, limits);
  std::string all;
  const std::size_t size_before = bytes.size();
  while (!bytes.empty()) {
    // Memory of its own, so that a look beyond the end is noticed.
    const std::string piece(bytes.substr(0, step));
    bytes.remove_prefix(piece.size());
    if (!decoder.decode(piece, [&](std::string_view part) { all += part; })) break;
  }
  const bool is_whole = decoder.end();
  check(is_whole || decoder.has_failed(), "an end is whole or an error");
  check(all.size() <= limits.size_max, "the limit of size holds");
  // At most a buffer comes out between two looks at the ratio.
  constexpr std::size_t buffer_size = 16 * 1024;
  check(
      all.size() <= std::max(limits.ratio_free_size, limits.ratio_max * size_before) + buffer_size,
      "the limit of growth holds");
  return is_whole ? "whole " + all : "failed";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t size_max = 4096;
  if (size > size_max) return -1;
  rill::fuzz::input from(data, size);
  constexpr coding all[] = {coding::gzip, coding::deflate, coding::brotli};
  const coding with = all[from.number(2)];
  const std::size_t step = 1 + from.number(20);
  decode_limits limits{1'000'000, 1'000'000'000, 100'000};
  const std::size_t kind = from.number(3);
  if (kind == 0) limits.size_max = 100;
  const std::string_view bytes = from.rest();

  const std::string whole = decoded(with, bytes, size_max, limits);
  check(whole == decoded(with, bytes, step, limits), "content is decoded alike however it is cut");

  if (kind == 3) decoded(with, bytes, step, {1'000'000, 2, 100});

  rill::http::content_encoder encoder(with, 1 + static_cast<int>(step % 9));
  std::string made;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    encoder.encode(bytes.substr(at, step), made);
    if (at % 3 == 0) encoder.flush(made);
  }
  encoder.finish(made);
  check(decoded(with, made, step, decode_limits()) == "whole " + std::string(bytes),
        "what was encoded comes back");
  return 0;
}
