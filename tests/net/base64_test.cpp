// Bytes as letters. See net/base64.h.
#include <rill/net/base64.h>

#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace rill::detail {
namespace {

using namespace std::string_literals;

TEST(base64, is_what_the_rfc_shows_and_comes_back) {
  EXPECT_EQ(encode_base64("foob"), "Zm9vYg==");
  EXPECT_EQ(encode_base64("fooba"), "Zm9vYmE=");
  EXPECT_EQ(encode_base64("\xfb\xff"s), "+/8=");
  std::string bytes;
  for (int i = 0; i != 300; ++i) {
    EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes);
    bytes += static_cast<char>(i * 7);
  }
}

TEST(base64, has_one_form_for_each_text) {
  for (const std::string& text : {"Z"s, "Zm9"s, "Zm=v"s, "Zm9vYh=="s, "Zm9v YQ"s, "===="s, "Z==="s,
                                  "Zm9v\n"s, "Zm9\0"s, "Zm9\xff"s, "Zm9-"s}) {
    EXPECT_EQ(decode_base64(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace rill::detail
