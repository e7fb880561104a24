// What happened, in order: records of a fixed size, turned into text only when somebody asks.
// Nothing in them depends on the compiler, the build type or the place of objects in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <rill/runtime/sim/packet.h>

namespace rill::sim::detail {

/// `name` is a string literal. What the numbers mean depends on the kind; see trace.cpp.
struct trace_record {
  enum class kind : std::uint8_t { call, submit, complete, packet, note };

  std::int64_t time;
  const char* name;
  std::int64_t numbers[3];
  endpoint source;
  endpoint destination;
  std::uint32_t host;
  std::uint32_t loop_number;  ///< of the host's; 0 for what is not of one loop, too
  kind what;
  std::uint8_t flags;
};

class trace_log {
 public:
  explicit trace_log(std::size_t record_max) : record_max_(record_max) {}

  void add(const trace_record& record);
  /// The latest records as lines "seconds host event". `host_names` by number.
  std::string text(const std::vector<std::string>& host_names) const;
  /// The latest `line_max` things that happened, for people: a column for each host.
  std::string timeline(const std::vector<std::string>& host_names, std::size_t line_max) const;
  /// Changes with every record ever added.
  std::uint64_t digest() const noexcept { return digest_; }

 private:
  const trace_record& at(std::size_t index) const noexcept {
    return records_[(oldest_ + index) % records_.size()];
  }

  std::size_t record_max_;
  std::vector<trace_record> records_;
  std::size_t oldest_ = 0;
  std::uint64_t dropped_count_ = 0;
  std::uint64_t digest_ = 0xcbf29ce484222325U;
};

}  // namespace rill::sim::detail
