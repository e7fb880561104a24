// Time and the trace. See engine.h.
#include <rill/runtime/sim/engine.h>

#include <algorithm>
#include <cerrno>

#include <rill/runtime/sim/report.h>

namespace rill::sim::detail {

const char* name_of(call what) noexcept {
  switch (what) {
    case call::socket:
      return "socket";
    case call::socket_pair:
      return "socket_pair";
    case call::bind:
      return "bind";
    case call::listen:
      return "listen";
    case call::shutdown:
      return "shutdown";
    case call::set_option:
      return "set_option";
    case call::get_option:
      return "get_option";
    case call::local_name:
      return "local_name";
    case call::peer_name:
      return "peer_name";
    case call::pipe:
      return "pipe";
    case call::sendfile:
      return "sendfile";
    case call::remove_dead_socket:
      return "remove_dead_socket";
    case call::link_file:
      return "link_file";
    case call::close:
      return "close";
    case call::signals:
      return "signals";
    case call::register_buffers:
      return "register_buffers";
    case call::unregister_buffers:
      return "unregister_buffers";
    case call::ring:
      return "ring";
    case call::thread:
      return "thread";
  }
  return "call";
}

engine::engine(std::uint64_t world_seed, const world_options& world_options)
    : options(world_options),
      seed(world_seed),
      turns(world_seed, "turns"),
      faults(world_seed),
      log(world_options.trace_max),
      is_silent(this_run().is_silent) {}

bool engine::step(std::int64_t limit, bool time_passes) noexcept {
  const std::int64_t next_event = events.next_deadline();
  const std::int64_t next_background = background.next_deadline();
  const std::int64_t never = rill::detail::timer_node::never;
  if (next_event == never && !(lossy || time_passes)) return false;
  const std::int64_t next = std::min(next_event, next_background);
  if (next == never || next > limit) return false;
  ++step_count;
  now_ = std::max(now_, next);
  events.expire(now_);
  background.expire(now_);
  return true;
}

bool& in_program() noexcept {
  thread_local bool inside = false;
  return inside;
}

void engine::trace(trace_record::kind what, const char* name, std::uint32_t host,
                   std::int64_t first, std::int64_t second, std::int64_t third,
                   std::uint32_t loop_number) {
  if (is_observed || is_silent) return;
  trace_record record{};
  record.time = now_;
  record.name = name;
  record.numbers[0] = first;
  record.numbers[1] = second;
  record.numbers[2] = third;
  record.host = host;
  record.loop_number = loop_number;
  record.what = what;
  log.add(record);
}

void engine::trace_packet(const char* name, std::uint32_t host, const packet& about) {
  if (is_silent) return;
  trace_record record{};
  record.time = now_;
  record.name = name;
  record.numbers[0] = static_cast<std::int64_t>(about.payload.size());
  record.numbers[1] = static_cast<std::int64_t>(about.sequence);
  record.numbers[2] = static_cast<std::int64_t>(about.acknowledged);
  record.source = about.source;
  record.destination = about.destination;
  record.host = host;
  record.what = trace_record::kind::packet;
  record.flags = about.flags;
  log.add(record);
}

int refuse(const std::string& what) noexcept {
  std::fprintf(stderr, "sim: not modelled: %s\n", what.c_str());
  return -EINVAL;
}

}  // namespace rill::sim::detail
