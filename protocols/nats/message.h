// A message as it comes to a subscriber. Read next: client.h.
#pragma once

#include <string>

#include <rill/protocols/nats/headers.h>

namespace rill::nats {

/// What a subscription or an answer gives. Owns its bytes.
class message {
 public:
  message() noexcept {}

  /// As its publisher has written it, without blanks and line ends; the servers see to nothing
  /// else.
  std::string subject;
  /// Where an answer is to go; empty: nowhere, or to what is no subject (is_subject()).
  std::string reply;
  nats::headers headers;
  std::string payload;
  /// Its headers could not be read or were too large (codec_limits), and `headers` is empty:
  /// whoever published it has made them so.
  bool has_bad_headers = false;
};

}  // namespace rill::nats
