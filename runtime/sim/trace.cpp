// How a record reads. See trace.h.
#include <rill/runtime/sim/trace.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

#include <rill/runtime/uring_abi.h>

namespace rill::sim::detail {
namespace {

void append_time(std::string& text, std::int64_t nanoseconds) {
  char buffer[40];
  std::snprintf(buffer, sizeof(buffer), "%6lld.%09lld",
                static_cast<long long>(nanoseconds / 1'000'000'000),
                static_cast<long long>(nanoseconds % 1'000'000'000));
  text += buffer;
}

void append_result(std::string& text, std::int64_t result) {
  text += " = " + std::to_string(result);
  if (result < 0 && result > -4096) {
    if (const char* name = ::strerrorname_np(static_cast<int>(-result))) {
      text += ' ';
      text += name;
    }
  }
}

void append_packet(std::string& text, const trace_record& record) {
  text += record.source.to_string() + " > " + record.destination.to_string();
  if ((record.flags & packet::syn) != 0) text += " syn";
  if ((record.flags & packet::fin) != 0) text += " fin";
  if ((record.flags & packet::rst) != 0) text += " rst";
  if (record.numbers[0] != 0) text += " bytes " + std::to_string(record.numbers[0]);
  if (record.flags != 0) text += " at " + std::to_string(record.numbers[1]);
  if ((record.flags & packet::ack) != 0) text += " ack " + std::to_string(record.numbers[2]);
}

/// Worth a line of a timeline: what a program got, and what the network did to it.
bool is_telling(const trace_record& record) noexcept {
  switch (record.what) {
    case trace_record::kind::submit:
      return false;
    case trace_record::kind::call: {
      // Options and names fail seldom, and tell little when they do not.
      const std::string_view name = record.name;
      const bool is_minor =
          name.ends_with("_option") || name.ends_with("_name") || name.ends_with("_buffers");
      return !is_minor || record.numbers[1] < 0;
    }
    case trace_record::kind::packet: {
      const bool is_lost =
          std::string_view(record.name) != "sent" && std::string_view(record.name) != "received";
      const bool is_sent = std::string_view(record.name) == "sent";
      const bool is_bare = record.numbers[0] == 0 && (record.flags & ~packet::ack) == 0 &&
                           (record.flags & packet::ack) != 0;
      return is_lost || (is_sent && !is_bare);
    }
    default:
      return true;
  }
}

void append_event(std::string& text, const trace_record& record) {
  text += record.name;
  text += ' ';
  switch (record.what) {
    case trace_record::kind::call:
      text += '(' + std::to_string(record.numbers[0]) + ')';
      append_result(text, record.numbers[1]);
      break;
    case trace_record::kind::submit:
      text += '(' + std::to_string(record.numbers[0]) + ") submitted";
      break;
    case trace_record::kind::complete:
      text += '(' + std::to_string(record.numbers[0]) + ')';
      append_result(text, record.numbers[1]);
      if ((record.numbers[2] & IORING_CQE_F_MORE) != 0) text += ", more to come";
      break;
    case trace_record::kind::packet:
      append_packet(text, record);
      break;
    case trace_record::kind::note:
      text += std::to_string(record.numbers[0]);
      break;
  }
}

}  // namespace

void trace_log::add(const trace_record& record) {
  const auto mix = [this](std::uint64_t word) {
    digest_ = (digest_ ^ word) * 0x100000001b3U;
    digest_ ^= digest_ >> 31;
  };
  mix(static_cast<std::uint64_t>(record.time));
  for (const std::int64_t number : record.numbers) mix(static_cast<std::uint64_t>(number));
  for (const char* letter = record.name; *letter != 0; ++letter) {
    mix(static_cast<unsigned char>(*letter));
  }
  mix((std::uint64_t{record.loop_number} << 32U) + record.host * 256U + record.flags);
  mix(record.source.hash());
  mix(record.destination.hash());

  if (record_max_ == 0) return;
  if (records_.size() < record_max_) {
    records_.push_back(record);
    return;
  }
  records_[oldest_] = record;
  oldest_ = (oldest_ + 1) % record_max_;
  ++dropped_count_;
}

std::string trace_log::text(const std::vector<std::string>& host_names) const {
  std::string text;
  if (dropped_count_ != 0) {
    text += "(" + std::to_string(dropped_count_) + " earlier events are no longer kept)\n";
  }
  for (std::size_t i = 0; i < records_.size(); ++i) {
    const trace_record& record = at(i);
    append_time(text, record.time);
    text += ' ' + host_names[record.host];
    if (record.loop_number != 0) text += '/' + std::to_string(record.loop_number);
    text += ' ';
    append_event(text, record);
    text += '\n';
  }
  return text;
}

std::string trace_log::timeline(const std::vector<std::string>& host_names,
                                std::size_t line_max) const {
  constexpr std::size_t column_size = 44;
  std::vector<std::size_t> chosen;
  for (std::size_t i = records_.size(); i-- > 0 && chosen.size() < line_max;) {
    if (is_telling(at(i))) chosen.push_back(i);
  }
  std::string text = "       seconds  ";
  for (const std::string& name : host_names) {
    text += name + std::string(column_size - std::min(column_size - 1, name.size()), ' ');
  }
  for (std::size_t i = chosen.size(); i-- > 0;) {
    const trace_record& record = at(chosen[i]);
    while (text.back() == ' ') text.pop_back();
    text += '\n';
    append_time(text, record.time);
    text += std::string(2 + column_size * record.host, ' ');
    if (record.loop_number != 0) text += '/' + std::to_string(record.loop_number) + ' ';
    append_event(text, record);
  }
  return text + '\n';
}

}  // namespace rill::sim::detail
