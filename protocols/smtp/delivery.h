// What has become of a message, for all its recipients and for each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rill/protocols/smtp/reply.h>

namespace rill::smtp {

enum class outcome : std::uint8_t {
  accepted,  ///< the server answers for it from now on
  refused,   ///< the server has not taken it, and never will by itself
  unknown    ///< all of it was sent, and no answer came: sending it again may deliver it twice
};

/// What has become of one recipient.
struct recipient_outcome {
  recipient_outcome() {}
  recipient_outcome(std::string_view of, outcome become) : address(of), what(become) {}

  std::string address;
  outcome what = outcome::unknown;
  /// The reply that decided: to RCPT if that was refused, else to the message.
  reply answer;
};

/// What client::send() gives.
class delivery {
 public:
  delivery(outcome what, reply answer, std::string reason, std::vector<recipient_outcome> each)
      : what_(what),
        answer_(std::move(answer)),
        reason_(std::move(reason)),
        recipients_(std::move(each)) {}

  /// Accepted: for at least one recipient. Then, as everywhere, look at each.
  outcome what() const noexcept { return what_; }
  /// For every recipient.
  bool is_complete() const noexcept;
  /// Refused, and the same message may be taken later: the answer was 4xx, or one to a recipient.
  bool is_temporary() const noexcept { return is_temporary_; }
  /// The reply that decided; code 0 if there was none.
  const reply& answer() const noexcept { return answer_; }
  /// The server's words, or ours where it said nothing: "550 5.1.1 no such user", "the message has
  /// 52428800 bytes, and the server takes 10240000". Empty when it was accepted without a word.
  const std::string& reason() const noexcept { return reason_; }
  /// In the order of the envelope.
  const std::vector<recipient_outcome>& recipients() const noexcept { return recipients_; }

  delivery& temporary(bool is_temporary) noexcept {
    is_temporary_ = is_temporary;
    return *this;
  }

 private:
  outcome what_;
  bool is_temporary_ = false;
  reply answer_;
  std::string reason_;
  std::vector<recipient_outcome> recipients_;
};

inline bool delivery::is_complete() const noexcept {
  for (const recipient_outcome& each : recipients_) {
    if (each.what != outcome::accepted) return false;
  }
  return true;
}

}  // namespace rill::smtp
