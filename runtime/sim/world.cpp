// The public face of a world: programs, hosts, running it. See world.h.
// Read next: world_state.cpp.
#include <rill/runtime/sim/world.h>

#include <exception>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <rill/runtime/sim/name_server.h>
#include <rill/runtime/sim/world_state.h>

namespace rill::sim {

bool program::has_ended() const noexcept { return state_->has_ended(); }
void program::cancel() noexcept {
  if (!state_->has_ended()) state_->cancel();
}
std::string program::task_tree() const { return state_->task_tree(); }
rill::loop_statistics program::statistics() const noexcept { return state_->runner().statistics(); }

program& host::start(task<> main) { return state_->of.start(*state_, std::move(main)); }
void host::add_address(std::string_view address) {
  state_->machine.add_address(detail::address::parse(address));
}
void host::signal(int number) {
  state_->of.time.trace(detail::trace_record::kind::note, "signal", state_->machine.id, number);
  if (!state_->machine.raise(number)) {
    throw std::logic_error("signal " + std::to_string(number) + " would end the programs of host " +
                           name() + ": none of them has asked for it");
  }
}
const std::string& host::name() const noexcept { return state_->machine.name; }
std::size_t host::descriptor_count() const noexcept { return state_->machine.open_count(); }

void host::crash() { state_->crash(); }
void host::restart() {
  if (!state_->machine.is_down()) throw std::logic_error("host " + name() + " has not crashed");
  state_->of.time.trace(detail::trace_record::kind::note, "restarted", state_->machine.id, 0);
  state_->machine.come_up();
}
bool host::is_down() const noexcept { return state_->machine.is_down(); }
std::uint32_t host::number() const noexcept { return state_->machine.id; }

namespace {

[[noreturn]] void fail_on_disk(const std::string& host, std::string_view path, int status) {
  throw std::invalid_argument("host " + host + ", " + std::string(path) + ": " +
                              std::generic_category().message(-status));
}

}  // namespace

void host::write_file(std::string_view path, std::string_view text) {
  detail::node& on = state_->machine;
  for (std::size_t at = path.find('/', 1); at != path.npos; at = path.find('/', at + 1)) {
    std::shared_ptr<detail::inode> there;
    const std::string_view directory = path.substr(0, at);
    if (on.storage.find(directory, there) < 0) {
      const int status = on.storage.make_directory(directory, 0755, on.wall_now());
      if (status < 0) fail_on_disk(name(), directory, status);
    }
  }
  std::shared_ptr<detail::inode> made;
  const int status = on.storage.write(path, text, on.wall_now(), made);
  if (status < 0) fail_on_disk(name(), path, status);
}

std::string host::read_file(std::string_view path) const {
  std::shared_ptr<detail::inode> found;
  const int status = state_->machine.storage.find(path, found);
  if (status < 0) fail_on_disk(name(), path, status);
  return {reinterpret_cast<const char*>(found->bytes.data()), found->bytes.size()};
}

bool host::has_file(std::string_view path) const {
  std::shared_ptr<detail::inode> found;
  return state_->machine.storage.find(path, found) == 0;
}

void host::remove_file(std::string_view path) {
  const int status = state_->machine.storage.unlink(path, false);
  if (status < 0) fail_on_disk(name(), path, status);
}

void host::rename_file(std::string_view from, std::string_view to) {
  const int status = state_->machine.storage.rename(from, to);
  if (status < 0) fail_on_disk(name(), from, status);
}

void fault_guard::lift() noexcept {
  if (fault_ != nullptr) fault_->lifted = true;
  fault_.reset();
}

std::uint64_t fault_guard::match_count() const noexcept {
  return fault_ == nullptr ? 0 : fault_->match_count;
}

world::world(std::uint64_t seed, const world_options& options)
    : state_(std::make_unique<detail::world_state>(seed, options)) {}

world::~world() = default;

host& world::add_host(std::string_view name, std::string_view address) {
  return add_host(name, {address});
}

host& world::add_host(std::string_view name, std::initializer_list<std::string_view> addresses) {
  const auto number = static_cast<std::uint32_t>(state_->hosts.size());
  detail::host_state& made = state_->hosts.emplace_back(*state_, number, std::string(name));
  for (const std::string_view each : addresses) made.handle.add_address(each);
  made.handle.write_file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  if (!state_->name_server_address.empty()) state_->tell_name_server(made);
  return made.handle;
}

host& world::add_name_server(std::string_view address) {
  if (!state_->name_server_address.empty()) {
    throw std::logic_error("the world has a name server already");
  }
  host& made = add_host("names", address);
  state_->name_server_address = address;
  for (detail::host_state& each : state_->hosts) state_->tell_name_server(each);
  detail::world_state& all = *state_;
  all.start(*made.state_,
            detail::serve_names([&all](std::string_view name) { return all.addresses_of(name); }),
            true);
  return made;
}

void world::run_while(const std::function<bool()>& condition) {
  detail::engine& time = state_->time;
  const std::int64_t limit =
      rill::detail::deadline_after(time.now(), time.options.run_limit.count());
  const std::uint64_t step_limit = time.step_count + time.options.step_max;
  state_->look_at_all();
  for (;;) {
    state_->rethrow();
    if (!condition()) return;
    if (time.step_count < step_limit && time.step(limit)) continue;
    const bool stuck = time.events.next_deadline() == rill::detail::timer_node::never;
    if (stuck) state_->give_up<deadlock>("deadlock: tasks wait and nothing can ever happen");
    state_->give_up<time_limit>("programs still run after the longest time allowed");
  }
}

void world::run() {
  run_while([this] { return !state_->all_ended(); });
}

void world::run(const program& until_ended) {
  run_while([&] { return !until_ended.has_ended(); });
}

void world::run_until(const std::function<bool()>& condition) {
  run_while([&] { return !condition(); });
}

void world::run_for(std::chrono::nanoseconds duration) {
  detail::engine& time = state_->time;
  const std::int64_t until = rill::detail::deadline_after(time.now(), duration.count());
  const std::uint64_t step_limit = time.step_count + time.options.step_max;
  state_->look_at_all();
  do {
    state_->rethrow();
    if (time.step_count >= step_limit) {
      state_->give_up<time_limit>("programs run in circles: more events than world_options allow");
    }
  } while (time.step(until, true));
  time.skip_to(until);
}

std::chrono::nanoseconds world::now() const noexcept {
  return std::chrono::nanoseconds(state_->time.now());
}
std::uint64_t world::seed() const noexcept { return state_->time.seed; }

fault_guard world::inject(const fault& imposed) {
  return fault_guard(state_->time.faults.add(imposed.rule()));
}

std::string world::trace() const { return state_->time.log.text(state_->host_names()); }
std::string world::timeline(std::size_t line_max) const {
  return state_->time.log.timeline(state_->host_names(), line_max);
}
std::uint64_t world::digest() const noexcept { return state_->time.log.digest(); }
std::string world::task_tree() const { return state_->task_tree(); }

}  // namespace rill::sim
