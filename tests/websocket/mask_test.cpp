// Masking: each width gives what the plain loop gives.
#include <rill/protocols/websocket/mask.h>

#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace rill::websocket::detail {
namespace {

const mask_key key{0x37, 0xfa, 0x21, 0x3d};

std::string masked_slowly(const std::string& text, std::uint64_t offset) {
  std::string made = text;
  for (std::size_t i = 0; i < made.size(); ++i) {
    made[i] = static_cast<char>(static_cast<unsigned char>(made[i]) ^ key[(offset + i) % 4]);
  }
  return made;
}

TEST(websocket_mask, gives_what_the_rfc_has) {
  std::string text = "Hello";  // section 5.7
  mask(text.data(), text.data(), text.size(), key, 0);
  EXPECT_EQ(text, "\x7f\x9f\x4d\x51\x58");
}

TEST(websocket_mask, gives_the_same_in_every_width_at_every_offset) {
  std::mt19937 random(5);
  for (int round = 0; round < 5000; ++round) {
    std::string text(random() % 150, ' ');
    for (char& each : text) each = static_cast<char>(random());
    const std::size_t begin = text.empty() ? 0 : random() % text.size();  // not aligned
    const std::string piece = text.substr(begin);
    const std::uint64_t offset = random() % 1000;
    const std::string expected = masked_slowly(piece, offset);
    for (const mask_path each : {mask_path::portable, mask_path::sse2, mask_path::avx2}) {
      if (!is_supported(each)) continue;
      std::string to(piece.size() + 1, '!');
      mask(to.data(), text.data() + begin, piece.size(), key, offset, each);
      ASSERT_EQ(to, expected + '!');
      mask(to.data(), to.data(), piece.size(), key, offset, each);  // in place, and back
      ASSERT_EQ(to, piece + '!');
    }
  }
}

TEST(websocket_mask, may_be_done_piece_by_piece) {
  const std::string text(1000, 'x');
  const std::string whole = masked_slowly(text, 0);
  for (std::size_t cut = 0; cut <= 100; ++cut) {
    std::string made(text.size(), ' ');
    mask(made.data(), text.data(), cut, key, 0);
    mask(made.data() + cut, text.data() + cut, text.size() - cut, key, cut);
    ASSERT_EQ(made, whole) << cut;
  }
}

}  // namespace
}  // namespace rill::websocket::detail
