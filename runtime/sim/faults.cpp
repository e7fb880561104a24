// What each fault is made of. See faults.h.
#include <rill/runtime/sim/faults.h>

#include <cerrno>
#include <stdexcept>

#include <rill/runtime/sim/world.h>

namespace rill::sim {

using detail::fault_kind;

fault fault::between(const host& one, const host& other) const {
  fault made = *this;
  made.rule_.from = one.number();
  made.rule_.to = other.number();
  made.rule_.both_ways = true;
  return made;
}

fault fault::from(const host& sender) const {
  fault made = *this;
  made.rule_.from = sender.number();
  return made;
}

fault fault::to(const host& receiver) const {
  fault made = *this;
  made.rule_.to = receiver.number();
  return made;
}

fault fault::on(const host& where) const {
  fault made = *this;
  made.rule_.from = where.number();
  made.rule_.one_host = true;
  return made;
}

fault fault::of(std::string_view operation) const {
  fault made = *this;
  made.rule_.operation = operation;
  return made;
}

fault fault::sometimes(double probability) const {
  fault made = *this;
  made.rule_.probability = probability;
  return made;
}

fault fault::only(std::uint64_t nth) const {
  fault made = *this;
  made.rule_.first = made.rule_.last = nth;
  return made;
}

fault fault::beginning_with(std::uint64_t nth) const {
  fault made = *this;
  made.rule_.first = nth;
  return made;
}

fault delayed(fault_kind what, std::chrono::nanoseconds least, std::chrono::nanoseconds most) {
  fault made(what);
  made.rule_.least = least.count();
  made.rule_.most = most.count();
  return made;
}

fault partition() { return fault(fault_kind::drop); }
fault loss(double probability) { return fault(fault_kind::drop).sometimes(probability); }
fault duplication(double probability) {
  return fault(fault_kind::duplicate).sometimes(probability);
}
fault reordering(double probability) { return fault(fault_kind::reorder).sometimes(probability); }
fault latency(std::chrono::nanoseconds least, std::chrono::nanoseconds most) {
  return delayed(fault_kind::delay, least, most);
}
fault latency(std::chrono::nanoseconds exactly) { return latency(exactly, exactly); }

fault bandwidth(std::uint64_t bytes_per_second) {
  if (bytes_per_second == 0) throw std::invalid_argument("a bandwidth of 0 is a partition");
  fault made(fault_kind::bandwidth);
  made.rule_.amount = bytes_per_second;
  return made;
}

fault reset_after(std::uint64_t byte_count) {
  fault made(fault_kind::reset);
  made.rule_.amount = byte_count;
  return made;
}

fault failure(std::string_view operation, int error_number) {
  fault made(fault_kind::fail);
  made.rule_.operation = operation;
  made.rule_.error_number = error_number;
  return made;
}

fault no_descriptors() { return failure({}, EMFILE); }
fault no_memory() { return failure({}, ENOMEM); }
fault no_buffers() { return failure({}, ENOBUFS); }
fault interruption() { return failure({}, EINTR); }
fault short_transfers() { return fault(fault_kind::shorten); }
fault early_end() { return fault(fault_kind::end_multishot); }
fault late_completions(std::chrono::nanoseconds most) {
  return delayed(fault_kind::delay_completion, std::chrono::nanoseconds(1), most);
}
fault late_notifications(std::chrono::nanoseconds most) {
  return delayed(fault_kind::delay_notification, std::chrono::nanoseconds(1), most);
}
fault disordered_completions() { return fault(fault_kind::swap_completions); }
fault slow_submission() { return fault(fault_kind::submission_full); }
fault completion_overflow() { return fault(fault_kind::completion_full); }
fault slow_disk(std::chrono::nanoseconds least, std::chrono::nanoseconds most) {
  return delayed(fault_kind::slow_disk, least, most);
}
fault full_disk() { return fault(fault_kind::full_disk); }

fault clock_jump(std::chrono::nanoseconds by) {
  fault made(fault_kind::jump_clock);
  made.rule_.least = by.count();
  return made;
}

fault pause() { return fault(fault_kind::pause); }

}  // namespace rill::sim
