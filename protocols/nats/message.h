// A message as it comes to a subscriber. Read next: client.h.
#pragma once

#include <string>

#include <rill/protocols/nats/headers.h>

namespace rill::nats {

/// What a subscription or an answer gives. Owns its bytes.
class message {
 public:
  message() noexcept {}

  std::string subject;
  std::string reply;  ///< where an answer is to go; empty: nowhere
  nats::headers headers;
  std::string payload;
  /// Its headers could not be read, and `headers` is empty: whoever published it has made them so.
  bool has_bad_headers = false;
};

}  // namespace rill::nats
