// What the tests of conformance share: a row of their tables. Each holds a message, what RFC 9110
// and RFC 9112 say about it, and what rill does; where the two differ, why.
#pragma once

#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace rill::http::test {

/// What the RFC says about a message.
enum class rule {
  take,    ///< it is one, or MUST or SHOULD be processed
  refuse,  ///< it is none, or MUST or SHOULD be answered with an error
  either   ///< the choice of who reads it
};

struct conformance_case {
  const char* section;
  rule says;
  std::string message;
  std::string outcome;
  /// Why rill does otherwise than `says`. Empty where it does not.
  const char* reason = "";
};

inline std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      std::array<char, 8> escaped{};
      std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned char>(c));
      text += c == '\r' ? "\\r" : c == '\n' ? "\\n" : escaped.data();
    }
  }
  return text;
}

/// `seen` is what is written down, and does what the RFC says unless a reason says why not.
inline void check(const conformance_case& one, const std::string& seen, bool is_taken) {
  SCOPED_TRACE(std::string(one.section) + ": " + printable(one.message.substr(0, 300)));
  EXPECT_EQ(seen, one.outcome);
  const bool agrees = one.says == rule::either || is_taken == (one.says == rule::take);
  EXPECT_EQ(agrees, *one.reason == '\0') << "differs from the RFC without a reason, or has one and "
                                            "does not differ";
}

}  // namespace rill::http::test
