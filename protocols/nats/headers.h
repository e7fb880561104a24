// Headers of a message: "NATS/1.0 503 No Responders\r\nName: value\r\n\r\n".
// Names are told apart by case, as the clients of NATS do it; a name may come more than once.
// Read next: packet.h, which carries them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include <rill/protocols/nats/error.h>

namespace rill::nats {

/// A status and fields in their order. Servers answer with a status; in a message of somebody else
/// it means nothing, for servers pass on whatever its publisher has written.
class headers {
 public:
  /// Fields beyond are bad_headers: a message with more is made to cost its reader time.
  static constexpr std::size_t count_max = 512;

  headers() noexcept {}

  /// The block as it comes, its first line and its empty last one included; empty: no headers.
  static tl::expected<headers, nats_error> parse(std::string_view block);
  /// What parse() reads; empty if there is neither a status nor a field.
  std::string to_text() const;

  /// Throws std::invalid_argument for a name that is empty or holds a colon, a blank or a control,
  /// and for a value with CR or LF.
  headers& add(std::string_view name, std::string_view value);
  /// The first value of that name.
  std::optional<std::string_view> find(std::string_view name) const noexcept;

  const std::vector<std::pair<std::string, std::string>>& fields() const noexcept {
    return fields_;
  }
  bool empty() const noexcept { return status_ == 0 && fields_.empty(); }

  /// 503, for instance; 0: none.
  int status() const noexcept { return status_; }
  const std::string& description() const noexcept { return description_; }
  /// For those who answer as servers do. REQUIRES: 100 to 999.
  void set_status(int status, std::string_view description);

 private:
  int status_ = 0;
  std::string description_;
  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace rill::nats
