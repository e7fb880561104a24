// Shards on loops; see hub.h.
#include <rill/protocols/chat/hub.h>

#include <utility>

namespace rill::chat {

class hub::part final : public courier {
 public:
  part(hub& all, unsigned index, unsigned count, loop& on, const hub_options& options)
      : own(index, count, options, *this), all_(&all), on_(&on) {}

  void schedule_flush() override {
    // After what is ready now, and before the loop waits.
    on_->post([kept = all_->shared_from_this(), this] { own.flush(); });
  }
  void carry(unsigned to, std::vector<shard_message> of) override {
    part& other = *all_->parts_[to];
    other.on_->post([kept = all_->shared_from_this(), &other, of = std::move(of)]() mutable {
      other.own.receive(std::move(of));
    });
  }
  std::int64_t wall_now() override { return on_->kernel().wall_now() / 1'000'000; }

  void appended(const shared_text& room, const shared_event& what) override {
    if (log != nullptr) log->append(room, what);
  }

  shard own;
  history_log* log = nullptr;

 private:
  hub* all_;
  loop* on_;
};

hub::hub(const std::vector<loop*>& loops, const hub_options& options) {
  const auto count = static_cast<unsigned>(loops.size());
  for (unsigned i = 0; i != count; ++i) {
    parts_.push_back(std::make_unique<part>(*this, i, count, *loops[i], options));
  }
}

hub::~hub() = default;

std::shared_ptr<hub> hub::make(const std::vector<loop*>& loops, const hub_options& options) {
  return std::shared_ptr<hub>(new hub(loops, options));
}

shard& hub::at(unsigned index) noexcept { return parts_[index]->own; }

void hub::keep(unsigned index, history_log* log) noexcept { parts_[index]->log = log; }

void hub::restore(const std::vector<kept_event>& events) {
  for (const kept_event& each : events) {
    at(at(0).owner_of(each.room)).restore(each.room, each.what);
  }
}

hub_statistics hub::statistics() const noexcept {
  hub_statistics sum;
  for (const auto& each : parts_) {
    const shard_statistics& of = each->own.statistics();
    sum.member_count += of.member_count.load(std::memory_order_relaxed);
    sum.room_count += of.room_count.load(std::memory_order_relaxed);
    sum.message_count += of.message_count.load(std::memory_order_relaxed);
    sum.event_count += of.event_count.load(std::memory_order_relaxed);
    sum.delivery_count += of.delivery_count.load(std::memory_order_relaxed);
    sum.missed_count += of.missed_count.load(std::memory_order_relaxed);
    sum.queued_size += of.queued_size.load(std::memory_order_relaxed);
    sum.cut_count += of.cut_count.load(std::memory_order_relaxed);
  }
  return sum;
}

}  // namespace rill::chat
